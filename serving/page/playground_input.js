"use strict";
// What is asked about: texts, files that are chosen, dropped or recorded, and the options that a capability has.
const RATE = 16000, MOST_SECONDS = 120;
const ACCEPT = { image: "image/*", sound: "audio/*", video: "video/*" };
const SAID = { text: "A text", chat: "What do you say?", image: "A picture", sound: "A sound", video: "A video" };

const asAddress = (file) => new Promise((done, failed) => {
  const reader = new FileReader();
  reader.addEventListener("load", () => done(reader.result));
  reader.addEventListener("error", () => failed(new Error("The file cannot be read.")));
  reader.readAsDataURL(file);
});

function asWave(pieces) {
  const count = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const view = new DataView(new ArrayBuffer(44 + count * 2));
  const letters = (place, text) => [...text].forEach((letter, index) => view.setUint8(place + index, letter.charCodeAt(0)));
  letters(0, "RIFF"); view.setUint32(4, 36 + count * 2, true); letters(8, "WAVEfmt "); view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); view.setUint16(22, 1, true); view.setUint32(24, RATE, true); view.setUint32(28, RATE * 2, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true); letters(36, "data"); view.setUint32(40, count * 2, true);
  let place = 44;
  for (const piece of pieces) for (const sample of piece) { view.setInt16(place, Math.max(-1, Math.min(1, sample)) * 32767, true); place += 2; }
  return new File([view.buffer], "recording.wav", { type: "audio/wav" });
}

// A button that listens until it is pressed again. WAV, because browsers' own recordings are not read everywhere.
function recording(take) {
  const button = make("button", "Record", "second");
  button.type = "button";
  let stop = null;
  button.addEventListener("click", async () => {
    if (stop) { stop(); return; }
    if (!navigator.mediaDevices) { refuse("A browser records on https and on localhost only."); return; }
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      const context = new AudioContext({ sampleRate: RATE }), pieces = [];
      await context.audioWorklet.addModule("/page/recorder.js");
      const recorder = new AudioWorkletNode(context, "recorder");
      recorder.port.addEventListener("message", (event) => pieces.push(event.data));
      recorder.port.start();
      context.createMediaStreamSource(stream).connect(recorder);
      const late = setTimeout(() => stop && stop(), MOST_SECONDS * 1000);
      button.textContent = "Stop";
      stop = () => {
        clearTimeout(late);
        stop = null;
        button.textContent = "Record";
        stream.getTracks().forEach((track) => track.stop());
        context.close();
        if (pieces.length) take(asWave(pieces));
      };
    } catch (error) { refuse("The microphone cannot be used; the browser may have been told not to."); }
  });
  return button;
}

// One field of an input: `value()` is what is sent, `source` a picture's address to draw on.
function field(name, kind) {
  const holder = make("div"), id = `input-${name}`, label = make("label", name === "input" ? SAID[kind] : `${SAID[kind]}: ${name}`);
  label.htmlFor = id;
  if (!(kind in ACCEPT)) {
    const area = make("textarea", undefined, "said");
    area.id = id;
    holder.append(label, area);
    return { holder, value: async () => area.value, source: () => null };
  }
  const drop = make("div", undefined, "drop"), input = make("input"), chosen = make("p", "or drop one here", "soft"), preview = make("div");
  Object.assign(input, { type: "file", id, accept: ACCEPT[kind] });
  let address = null;
  const take = async (file) => {
    address = await asAddress(file);
    if (input.files[0] !== file) input.value = ""; // it would go on naming what was chosen before
    chosen.textContent = `${input.files[0] === file ? "" : `${file.name}, `}${number(Math.ceil(file.size / 1024))} KB`;
    preview.replaceChildren(...(kind === "image" ? [pictured(address)] : []));
    drop.dataset.ready = "yes";
  };
  input.addEventListener("change", () => input.files.length && take(input.files[0]));
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
  drop.append(input, ...(kind === "sound" ? [recording(take)] : []), chosen, preview);
  holder.append(label, drop);
  return { holder, value: async () => address && address.slice(address.indexOf(",") + 1), source: () => (kind === "image" ? address : null) };
}

// The lines of a docstring's "Attributes:", which say what each option means.
function meanings(description) {
  const found = {};
  for (const [, name, said] of (description || "").matchAll(/^\s+(\w+): (.+)$/gm)) found[name] = said;
  return found;
}

function option(name, kind, example, required, meaning) {
  const holder = make("div"), label = make("label", name), id = `option-${name}`;
  const kinds = (kind.anyOf || [kind]).map((one) => one.type), given = example === undefined ? kind.default : example;
  label.htmlFor = id;
  let input;
  if (kind.enum) {
    input = make("select");
    for (const value of kind.enum) input.append(make("option", value));
  } else if (kinds.includes("array")) input = make("textarea", undefined, "list");
  else {
    input = make("input");
    if (kinds.includes("boolean")) input.type = "checkbox";
    else if (kinds.includes("number") || kinds.includes("integer")) {
      Object.assign(input, { type: "number", step: kinds.includes("integer") ? 1 : "any" });
      if (kind.minimum !== undefined) input.min = kind.minimum;
      if (kind.maximum !== undefined) input.max = kind.maximum;
    }
  }
  input.id = id;
  input.required = required;
  if (input.type === "checkbox") input.checked = given === true;
  else if (Array.isArray(given)) input.value = given.join("\n");
  else if (given !== null && given !== undefined) input.value = given;
  holder.append(label, input, make("p", `${meaning || ""}${kinds.includes("array") ? " One on each line." : ""}`.trim(), "soft"));
  const value = () => {
    if (input.type === "checkbox") return input.checked;
    if (kinds.includes("array")) return input.value.split("\n").map((line) => line.trim()).filter(Boolean);
    if (input.value === "") return undefined;
    return input.type === "number" ? Number(input.value) : input.value;
  };
  return { name, holder, value };
}

function optionsOf(forms) {
  const schema = forms.parameters.$ref ? forms.parameters.$defs[forms.parameters.$ref.split("/").pop()] : forms.parameters;
  const said = meanings(schema.description);
  return Object.entries(schema.properties || {}).map(([name, kind]) => option(name, kind, forms.example[name], schema.required.includes(name), said[name]));
}
