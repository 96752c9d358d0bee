"use strict";

// Light or dark: the button overrides what the reader's system asks for.
function setUpTheme() {
  const root = document.documentElement;
  document.getElementById("theme").addEventListener("click", () => {
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    root.dataset.theme = (root.dataset.theme || system) === "dark" ? "light" : "dark";
    document.dispatchEvent(new Event("themechange"));
  });
}

// Tables: the first click on a heading puts the best first, the next one turns the order round. Missing values stay last.
function sortTable(table, column, descending) {
  const body = table.tBodies[0];
  const numeric = table.tHead.rows[0].cells[column].classList.contains("number");
  const key = (row) => row.cells[column].dataset.key;
  const number = (text) => Number(text === "inf" ? Infinity : text === "-inf" ? -Infinity : text);
  const compare = (a, b) => {
    if (a === b) return 0;
    if (a === "" || b === "") return a === "" ? 1 : -1;
    const order = numeric ? Math.sign(number(a) - number(b)) : a.localeCompare(b, undefined, { numeric: true });
    return descending ? -order : order;
  };
  body.append(...Array.from(body.rows).sort((a, b) => compare(key(a), key(b))));
}

function setUpTable(table) {
  const headings = Array.from(table.tHead.rows[0].cells);
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const before = heading.getAttribute("aria-sort");
      const descending = before ? before === "ascending" : "descending" in heading.dataset;
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sortTable(table, column, descending);
    });
  });
}

// Legends: a press on a model hides it in its chart, or shows it again.
function setUpLegend(legend) {
  const figure = legend.closest("figure");
  legend.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(shown));
    figure.querySelectorAll(`.chart [data-series="${button.dataset.series}"]`).forEach((group) => {
      group.classList.toggle("hidden", !shown);
    });
  });
}

// Player: every model in step, one byte per value; 255 means "not finite".
const BLANK = 255;

function decode(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

function drawField(canvas, bytes, shape, palette) {
  const [width, height] = shape;
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] === BLANK) continue;
    image.data.set(palette.subarray(3 * bytes[i], 3 * bytes[i] + 3), 4 * i);
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

function strokeLine(context, bytes, width, height) {
  context.beginPath();
  let pen = false;
  bytes.forEach((value, i) => {
    const x = (i / (bytes.length - 1)) * width;
    const y = height * (1 - value / 254);
    if (value === BLANK) pen = false;
    else if (pen) context.lineTo(x, y);
    else {
      context.moveTo(x, y);
      pen = true;
    }
  });
  context.stroke();
}

function drawLine(canvas, bytes, truth, zero) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  const ink = getComputedStyle(document.body).color;
  context.scale(ratio, ratio);
  context.lineJoin = "round";
  context.strokeStyle = ink;
  context.globalAlpha = 0.2;
  context.beginPath();
  context.moveTo(0, height * (1 - zero));
  context.lineTo(width, height * (1 - zero));
  context.stroke();
  context.globalAlpha = 0.35;
  context.lineWidth = 4;
  strokeLine(context, truth, width, height);
  if (bytes.every((value) => value === BLANK)) {
    context.globalAlpha = 0.8;
    context.fillStyle = ink;
    context.font = `13px ${style.fontFamily}`;
    context.fillText("blown up", 10, 20);
  }
  context.globalAlpha = 1;
  context.lineWidth = 1.8;
  context.strokeStyle = style.color;
  if (bytes !== truth) strokeLine(context, bytes, width, height);
}

function setUpPlayer(player) {
  const data = JSON.parse(player.querySelector(".frames").textContent);
  const panels = Array.from(player.querySelectorAll(".panel"));
  const [play, slider, clock] = [".play", ".time", ".clock"].map((name) => player.querySelector(name));
  const palette = decode(data.palette);
  const frames = data.models.map((model) => decode(model.frames));
  const size = data.shape.reduce((a, b) => a * b, 1);
  const zero = Math.min(1, Math.max(0, -data.low / (data.high - data.low)));
  const last = data.times.length - 1;
  const pause = Math.max(40, 12000 / data.times.length); // a run through takes about 12 s
  let current = 0;
  let timer = null;
  slider.max = last;

  function caption(panel, model, bytes, n) {
    const r = model.correlation[n];
    const blown = bytes.every((value) => value === BLANK);
    const output = panel.querySelector(".correlation");
    panel.classList.toggle("lost-now", panel !== panels[0] && !(r >= data.threshold));
    if (panel === panels[0]) output.textContent = "the truth";
    else if (blown || r === null) output.textContent = blown ? "blown up" : "r undefined";
    else output.textContent = `r = ${r.toFixed(3).replace("-", "−")}${r < data.threshold ? ", lost" : ""}`;
  }

  function show(n) {
    current = n;
    const cut = (m) => frames[m].subarray(n * size, (n + 1) * size);
    const truth = cut(0);
    panels.forEach((panel, m) => {
      const canvas = panel.querySelector("canvas");
      const bytes = m === 0 ? truth : cut(m);
      if (data.form === "field") drawField(canvas, bytes, data.shape, palette);
      else drawLine(canvas, bytes, truth, zero);
      canvas.dataset.frame = String(n);
      caption(panel, data.models[m], bytes, n);
    });
    slider.value = n;
    clock.textContent = `t = ${data.times[n]}`;
    slider.setAttribute("aria-valuetext", clock.textContent);
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "▶";
    play.setAttribute("aria-label", "Play");
  }

  function start() {
    if (current === last) show(0);
    timer = setInterval(() => (current < last ? show(current + 1) : stop()), pause);
    play.textContent = "❚❚";
    play.setAttribute("aria-label", "Pause");
  }

  play.addEventListener("click", () => (timer === null ? start() : stop()));
  slider.addEventListener("input", () => {
    stop();
    show(Number(slider.value));
  });
  document.addEventListener("themechange", () => show(current));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(current));
  window.addEventListener("resize", () => show(current));
  show(0);
}

setUpTheme();
document.querySelectorAll("table.sortable").forEach(setUpTable);
document.querySelectorAll(".legend").forEach(setUpLegend);
document.querySelectorAll(".player").forEach(setUpPlayer);
