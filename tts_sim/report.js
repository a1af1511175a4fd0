"use strict";
// Draws the specs into the boxes with class `chart`, in order. What is wider than the page is drawn again with fewer
// panels in a row, then with narrower ones.
const specs = JSON.parse(document.getElementById("specs").textContent);
const boxes = document.querySelectorAll(".chart");
const options = {
  mode: "vega-lite",
  renderer: "svg",
  actions: { export: true, source: false, compiled: false, editor: false },
};
const NARROWEST = 110;

function narrower(spec, room, excess) {
  if (spec.facet && spec.columns > 1) {
    spec.columns -= 1;
    if (spec.columns === 1) spec.spec.width = Math.max(spec.spec.width, room - 60);
    return true;
  }
  const part = spec.facet ? spec.spec : spec;
  if (typeof part.width !== "number" || part.width <= NARROWEST) return false;
  part.width = Math.max(NARROWEST, part.width - excess);
  return true;
}

function fitLabels(part, room) {
  if (!part || typeof part !== "object") return;
  if (part.legend && part.legend.columns) {
    const each = part.legend.title ? 60 : 210;
    part.legend.columns = Math.max(1, Math.min(part.legend.columns, Math.floor(room / each)));
    part.legend.titleLimit = room - 20;
    part.legend.labelLimit = Math.min(part.legend.labelLimit, room - 60);
  }
  if (part.axis && part.axis.labelLimit) part.axis.labelLimit = Math.min(part.axis.labelLimit, 0.45 * room);
  for (const key of Object.keys(part)) if (key !== "datasets" && key !== "data") fitLabels(part[key], room);
}

async function draw(box, given, room) {
  const spec = structuredClone(given);
  fitLabels(spec, room);
  for (;;) {
    if (box.finish) box.finish();
    box.finish = (await vegaEmbed(box, spec, options)).finalize;
    const excess = Math.ceil(box.querySelector("svg.marks").getBoundingClientRect().width - room);
    if (excess <= 0 || !narrower(spec, room, excess)) return;
  }
}

let width = 0;
async function drawAll() {
  const room = document.querySelector("main").clientWidth;
  if (room === width) return;
  width = room;
  for (let place = 0; place < specs.length && room === width; place++) await draw(boxes[place], specs[place], room);
  document.body.dataset.drawn = specs.length;
}
drawAll().catch(console.error);
let waiting;
addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => drawAll().catch(console.error), 200);
});
