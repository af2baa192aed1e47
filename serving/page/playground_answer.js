"use strict";
// Answers as elements. Whatever a model says is written as text, never as markup.
const byId = (id) => document.getElementById(id);
const SVG = document.getElementById("marks").content.firstElementChild.namespaceURI;
const MOST_ROWS = 200, MOST_NUMBERS = 8;
const make = (tag, text, kind) => {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  if (kind) node.className = kind;
  return node;
};
const number = (value) => Number(value).toLocaleString("en", { maximumSignificantDigits: 4 });
const isPlain = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const isTable = (value) => Array.isArray(value) && value.length > 0 && value.every(isPlain);
const isTimed = (row) => typeof row.start === "number" && typeof row.end === "number";

// What is on a picture: everything in the answer that has a box, wherever it stands.
function marks(value, found = []) {
  if (Array.isArray(value)) value.forEach((one) => marks(one, found));
  else if (isPlain(value)) {
    const box = value.box;
    if (isPlain(box) && ["xmin", "ymin", "xmax", "ymax"].every((side) => typeof box[side] === "number")) {
      const match = isTable(value.matches) ? value.matches[0] : null;
      found.push({ box, said: match ? match.person : value.label || value.text || "", score: match ? match.score : value.score });
    }
    Object.values(value).forEach((one) => marks(one, found));
  }
  return found;
}

function drawing(image, answer) {
  const width = image.naturalWidth, height = image.naturalHeight;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  const found = marks(answer);
  svg.setAttribute("aria-label", `${found.length} places are marked`);
  const size = (13 * width) / (image.clientWidth || width); // 13 pixels of the screen, however large the picture is
  for (const { box, said, score } of found) {
    const rect = document.createElementNS(SVG, "rect");
    for (const [name, value] of [["x", box.xmin], ["y", box.ymin], ["width", Math.max(1, box.xmax - box.xmin)], ["height", Math.max(1, box.ymax - box.ymin)]]) rect.setAttribute(name, value);
    const text = document.createElementNS(SVG, "text");
    text.setAttribute("x", box.xmin);
    text.setAttribute("y", Math.max(size, box.ymin - size / 4));
    text.setAttribute("font-size", size);
    text.textContent = `${said} ${score === undefined || score === null ? "" : Number(score).toFixed(2)}`.trim();
    svg.append(rect, text);
  }
  return svg;
}

function pictured(source, answer = null) {
  const holder = make("div", undefined, "picture");
  const image = make("img");
  image.alt = "The picture that is asked about";
  if (answer) image.addEventListener("load", () => holder.append(drawing(image, answer)));
  image.src = source;
  holder.append(image);
  return holder;
}

function timeline(rows, seconds) {
  const line = make("div", undefined, "line");
  line.setAttribute("role", "img");
  line.setAttribute("aria-label", `${rows.length} stretches in ${number(seconds)} seconds`);
  for (const row of rows) {
    const stretch = make("span");
    stretch.style.left = `${(row.start / seconds) * 100}%`;
    stretch.style.width = `${((row.end - row.start) / seconds) * 100}%`;
    stretch.title = row.text || `${row.start} – ${row.end} s`;
    line.append(stretch);
  }
  return line;
}

function brief(value) {
  if (value === null || value === undefined) return "—";
  if (typeof value === "number") return number(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "object") return String(value);
  if (Array.isArray(value) && !value.length) return "none";
  if (isPlain(value) && "xmin" in value) return `${value.xmin}, ${value.ymin} – ${value.xmax}, ${value.ymax}`;
  if (Array.isArray(value) && value.length > MOST_NUMBERS && value.every((one) => typeof one === "number")) return `${value.slice(0, MOST_NUMBERS).map(number).join(", ")} … (${value.length} numbers)`;
  if (isTable(value) && value.length <= 3) return value.map((row) => Object.values(row).map(brief).join(" ")).join("; ");
  return JSON.stringify(value);
}

function cell(name, value) {
  const shown = make("td");
  if (name === "score" && typeof value === "number" && value >= 0 && value <= 1) {
    const meter = make("meter");
    meter.value = value;
    meter.setAttribute("aria-label", `score ${number(value)}`);
    shown.append(meter, ` ${value.toFixed(3)}`);
  } else shown.textContent = brief(value);
  return shown;
}

function tabled(rows) {
  const names = [...new Set(rows.flatMap(Object.keys))];
  const table = make("table", undefined, "answers"), head = make("tr");
  for (const name of names) head.append(make("th", name));
  table.append(head);
  for (const row of rows.slice(0, MOST_ROWS)) {
    const line = make("tr");
    for (const name of names) line.append(cell(name, row[name]));
    table.append(line);
  }
  const scroll = make("div", undefined, "scroll");
  scroll.append(table);
  if (rows.length > MOST_ROWS) scroll.append(make("p", `and ${rows.length - MOST_ROWS} more`, "soft"));
  return scroll;
}

function answered(answer) {
  const parts = [], tables = [], facts = make("dl", undefined, "facts");
  for (const [name, value] of Object.entries(answer)) {
    if (name === "text") parts.push(make("p", value || "Nothing.", "text"));
    else if (isTable(value)) {
      tables.push(make("h3", name));
      if (typeof answer.seconds === "number" && answer.seconds > 0 && value.every(isTimed)) tables.push(timeline(value, answer.seconds));
      tables.push(tabled(value));
    } else {
      const pair = make("div");
      pair.append(make("dt", name), make("dd", brief(value)));
      facts.append(pair);
    }
  }
  if (facts.childNodes.length) parts.push(facts);
  return [...parts, ...tables];
}

function raw(value) {
  const folded = make("details");
  folded.append(make("summary", "As JSON"), make("pre", JSON.stringify(value, null, 1)));
  return folded;
}
