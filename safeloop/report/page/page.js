"use strict";
// Embed the figures one after the other, and let filters and the reader's colour scheme reach them.
(() => {
  const COLOURS = {
    light: { ink: "#000000", soft: "#444444", grid: "#dddddd" },
    dark: { ink: "#ffffff", soft: "#c8ccd2", grid: "#3a3f47" },
  };
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const form = document.getElementById("filters");
  const boxes = (name) => [...form.querySelectorAll(`input[name=${name}]`)];
  const off = (name) => new Set(boxes(name).filter((box) => !box.checked).map((box) => box.value));
  const models = (docs) => docs.flatMap((doc) => doc.roots()).flatMap((root) => [...root.references()]);

  function paint(docs = Bokeh.documents, dark = scheme.matches) {
    const { ink, soft, grid } = COLOURS[dark ? "dark" : "light"];
    for (const model of models(docs)) {
      if (model.type.endsWith("Axis")) {
        model.setv({
          axis_label_text_color: soft, major_label_text_color: soft, axis_line_color: soft,
          major_tick_line_color: soft, minor_tick_line_color: null,
        });
      } else if (model.type === "Grid") {
        model.setv({ grid_line_color: grid });
      } else if (model.tags.includes("ink")) {
        const inked = model.glyph ?? model;
        const colour = model.glyph ? { value: ink } : ink;
        for (const name of ["line_color", "fill_color"]) if (name in inked.properties) inked[name] = colour;
      }
    }
  }

  function showLines(docs = Bokeh.documents) {
    const hidden = off("algo");
    for (const model of models(docs)) {
      const tag = model.tags.find((each) => `${each}`.startsWith("algo "));
      if (tag !== undefined) model.visible = !hidden.has(tag.slice(5));
    }
  }

  function show() {
    const algos = off("algo");
    const tasks = off("task");
    for (const each of document.querySelectorAll("[data-algo]")) each.hidden = algos.has(each.dataset.algo);
    const others = boxes("others").every((box) => box.checked);
    for (const body of document.querySelectorAll("tbody.others")) body.hidden = !others;
    let runs = 0;
    let all = 0;
    for (const task of document.querySelectorAll("[data-task]")) {
      task.hidden = tasks.has(task.dataset.task);
      const lines = [...task.querySelectorAll("table.all-runs tbody tr")];
      const left = lines.filter((line) => !line.hidden).length;
      all += lines.length;
      runs += task.hidden ? 0 : left;
      task.querySelector(".none").hidden = left > 0;
      for (const table of task.querySelectorAll("table.estimates, table.failures")) {
        table.parentElement.hidden = !table.querySelector("tbody:not([hidden]) > tr:not([hidden])");
      }
    }
    document.getElementById("shown").textContent = `${runs} of ${all} runs are shown.`;
    showLines();
  }

  async function embed() {
    for (const data of document.querySelectorAll("script[data-plot]")) {
      await Bokeh.embed.embed_item(JSON.parse(data.textContent), data.dataset.plot);
      data.remove();
      paint(Bokeh.documents.slice(-1));
      showLines(Bokeh.documents.slice(-1));
      await new Promise((resolve) => setTimeout(resolve)); // the page answers between two figures
    }
    document.body.dataset.figures = "ready";
  }

  // A table that is wider than the screen is scrolled with the keyboard too; one that is not needs no stop there.
  function reach() {
    for (const each of document.querySelectorAll(".scroll")) {
      if (each.scrollWidth > each.clientWidth) each.tabIndex = 0;
      else each.removeAttribute("tabindex");
    }
  }

  form.addEventListener("change", show);
  addEventListener("resize", reach);
  document.addEventListener("toggle", reach, true);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("all").addEventListener("click", () => {
    for (const box of form.querySelectorAll("input")) box.checked = true;
    show();
  });
  scheme.addEventListener("change", () => paint());
  addEventListener("beforeprint", () => paint(Bokeh.documents, false));
  addEventListener("afterprint", () => paint());
  show();
  reach();
  embed();
})();
