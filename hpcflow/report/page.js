// The charts of a run's page, by BokehJS, in the colours of the reader's choice.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const stage = (number) => css(`--s${number % 8}`);

  // A unit in which the greatest of some bytes reads well.
  function unit(most) {
    const names = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    const power = Math.max(0, Math.min(names.length - 1, Math.floor(Math.log2(Math.max(most, 1)) / 10)));
    return { name: names[power], of: 2 ** (10 * power) };
  }

  function figure(height, options) {
    const made = Bokeh.Plotting.figure({
      height, sizing_mode: "stretch_width", tools: "xpan,xbox_zoom,reset,save", toolbar_location: "above",
      x_range: new Bokeh.Range1d({ start: 0, end: data.seconds, bounds: [0, data.seconds] }),
      background_fill_color: css("--paper"), border_fill_color: css("--paper"), outline_line_color: null, ...options,
    });
    // A finger that scrolls the page is not to drag a chart.
    made.toolbar.active_drag = null;
    made.toolbar.logo = null;
    for (const axis of [...made.xaxes, ...made.yaxes]) {
      Object.assign(axis, {
        major_label_text_color: css("--faint"), axis_label_text_color: css("--faint"), axis_line_color: css("--line"),
        major_tick_line_color: css("--line"), minor_tick_line_color: null, axis_label_text_font_style: "normal",
      });
    }
    for (const grid of made.center) grid.grid_line_color = css("--line");
    made.xaxes[0].axis_label = "seconds";
    return made;
  }

  function legend(made) {
    const one = made.legend;
    Object.assign(one, {
      background_fill_alpha: 0, border_line_color: null, label_text_color: css("--ink"), orientation: "horizontal",
      label_text_font_size: "12px", padding: 0, margin: 2, spacing: 12,
    });
    one.detach?.();
    made.add_layout(one, "above");
  }

  function hover(made, renderer, tooltips) {
    made.add_tools(new Bokeh.HoverTool({ renderers: [renderer], tooltips }));
  }

  function tasks() {
    const { lanes, bars } = data.timeline;
    const made = figure(Math.min(640, 110 + 22 * lanes.length), {
      y_range: new Bokeh.Range1d({ start: lanes.length, end: 0 }),
    });
    const column = (of) => bars.map(of);
    const source = new Bokeh.ColumnDataSource({ data: {
      left: column((bar) => bar[2]), right: column((bar) => bar[3]),
      top: column((bar) => bar[0] + 0.1), bottom: column((bar) => bar[0] + 0.9),
      color: column((bar) => stage(data.stages.indexOf(bar[1]))), stage: column((bar) => bar[1]),
      alpha: column((bar) => 0.15 + 0.75 * Math.min(1, bar[4] / Math.max(bar[3] - bar[2], 1e-9))),
      worker: column((bar) => lanes[bar[0]]), tasks: column((bar) => bar[5]), blocks: column((bar) => bar[6]),
      busy: column((bar) => bar[4]),
    } });
    const drawn = made.quad({
      left: { field: "left" }, right: { field: "right" }, top: { field: "top" }, bottom: { field: "bottom" },
      fill_color: { field: "color" }, fill_alpha: { field: "alpha" }, line_color: css("--paper"), line_width: bars.length > 1500 ? 0 : 0.5,
      source,
    });
    const apart = Math.ceil(lanes.length / 24);
    const shown = lanes.map((_, i) => i).filter((i) => i % apart === 0);
    made.yaxes[0].ticker = new Bokeh.FixedTicker({ ticks: shown.map((i) => i + 0.5) });
    made.yaxes[0].major_label_overrides = new Map(shown.map((i) => [i + 0.5, lanes[i]]));
    made.yaxes[0].axis_label = "worker";
    for (const grid of made.center) if (grid.dimension === 1) grid.grid_line_color = null;
    hover(made, drawn, [["stage", "@stage"], ["worker", "@worker"], ["tasks", "@tasks"], ["blocks", "@blocks"], ["seconds busy", "@busy{0.000}"]]);
    return made;
  }

  function memory() {
    const { width, bins } = data.memory;
    const kept = bins.map(([total, driver], i) => [(i + 0.5) * width, total, driver]).filter(([, total]) => total > 0);
    const { projected_peak: projected, budget } = data.limits;
    const { name, of } = unit(Math.max(...kept.map((one) => one[1]), projected));
    const most = Math.max(...kept.map((one) => one[1]), projected) / of;
    const made = figure(260, { y_range: new Bokeh.Range1d({ start: 0, end: 1.08 * most }) });
    const source = new Bokeh.ColumnDataSource({ data: {
      x: kept.map((one) => one[0]), total: kept.map((one) => one[1] / of), driver: kept.map((one) => one[2] / of),
    } });
    made.varea({ x: { field: "x" }, y1: 0, y2: { field: "total" }, fill_color: stage(0), fill_alpha: 0.15, source });
    const total = made.line({ x: { field: "x" }, y: { field: "total" }, line_color: stage(0), line_width: 2, legend_label: "measured", source });
    made.line({ x: { field: "x" }, y: { field: "driver" }, line_color: stage(5), line_width: 1.5, legend_label: "driver alone", source });
    const across = (value, color, label) => made.line({
      x: [0, data.seconds], y: [value / of, value / of], line_color: color, line_dash: [6, 4], line_width: 1.5, legend_label: label,
    });
    if (projected) across(projected, stage(2), "projected peak");
    if (budget && budget <= 1.05 * most * of) across(budget, stage(4), "allowed");
    made.yaxes[0].axis_label = name;
    hover(made, total, [["seconds", "@x{0.0}"], ["all processes", `@total{0.0} ${name}`], ["driver", `@driver{0.0} ${name}`]]);
    legend(made);
    return made;
  }

  function rates() {
    const { width, bins } = data.rates;
    const { name, of } = unit(Math.max(...bins.flat()) / width);
    const made = figure(240, {});
    const source = new Bokeh.ColumnDataSource({ data: {
      x: bins.map((_, i) => i * width), read: bins.map((one) => one[0] / width / of), written: bins.map((one) => one[1] / width / of),
    } });
    const read = made.step({ x: { field: "x" }, y: { field: "read" }, mode: "after", line_color: stage(0), line_width: 1.8, legend_label: "read", source });
    made.step({ x: { field: "x" }, y: { field: "written" }, mode: "after", line_color: stage(7), line_width: 1.8, legend_label: "written", source });
    made.y_range.start = 0;
    made.yaxes[0].axis_label = `${name} per second`;
    hover(made, read, [["seconds", "@x{0.0}"], ["read", `@read{0.0} ${name}/s`], ["written", `@written{0.0} ${name}/s`]]);
    legend(made);
    return made;
  }

  const charts = { tasks, memory, rates };
  async function draw() {
    for (const [id, chart] of Object.entries(charts)) {
      const place = document.getElementById(id);
      if (!place) continue;
      place.replaceChildren();
      await Bokeh.Plotting.show(chart(), place);
    }
    document.documentElement.dataset.drawn = dark.matches ? "dark" : "light";
  }
  dark.addEventListener("change", draw);
  draw();
})();
