"use strict";
// The playground: what is installed, a form for it, and its answers.
let chosen = null; // what is asked: forms of the capability, its fields and options

function refuse(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = !text;
}

async function get(address) {
  const reply = await fetch(address);
  if (reply.status === 401) { location.assign("/login"); throw new Error("You are signed out."); }
  const said = await reply.json();
  if (!reply.ok) throw new Error(said.detail || said.title);
  return said;
}

function described(model) {
  const parts = [], size = number(Math.round(model.size_bytes / 1e5) / 10);
  const languages = model.languages.map((code) => (code === "mul" ? "many languages" : code)).join(", ");
  parts.push(make("p", [`${model.model} ${model.version}`, model.licence, `${size} MB`, languages].filter(Boolean).join(", "), "soft"));
  if (model.weak) parts.push(make("p", "Weak: it is often wrong; the figures say how often.", "weak"));
  if (model.research_only) parts.push(make("p", "For research only: its licence forbids most other uses.", "weak"));
  for (const one of model.quality) parts.push(make("p", `${one.metric}: ${number(one.value)}, on ${one.on}`, "soft"));
  if (model.note) parts.push(make("p", model.note, "soft"));
  return parts;
}

function showModel(models) {
  const here = models.filter((model) => model.installed), about = make("div");
  const show = () => about.replaceChildren(...described(here.find((model) => model.model === chosen.model)));
  chosen.model = (here.find((model) => !model.research_only) || here[0]).model;
  if (here.length > 1) {
    const label = make("label", "Model"), select = make("select");
    label.htmlFor = select.id = "which";
    for (const model of here) select.append(make("option", model.model));
    select.value = chosen.model;
    select.addEventListener("change", () => { chosen.model = select.value; show(); });
    byId("model").replaceChildren(label, select, about);
  } else byId("model").replaceChildren(about);
  show();
}

async function choose(name) {
  refuse("");
  const forms = await get(`/v1/ready/${encodeURIComponent(name)}`);
  const takes = typeof forms.takes === "string" ? { input: forms.takes } : forms.takes;
  chosen = { name, forms, fields: Object.entries(takes).map(([key, kind]) => [key, field(key, kind)]), options: optionsOf(forms) };
  showModel(forms.models);
  byId("inputs").replaceChildren(...chosen.fields.map(([, one]) => one.holder));
  byId("parameters").replaceChildren(...chosen.options.map((one) => one.holder));
  byId("options").hidden = !chosen.options.length;
  byId("options").open = chosen.options.some((one) => one.holder.querySelector(":required"));
  byId("answer").hidden = true;
  history.replaceState(null, "", `#${name}`);
  await showPeople(name);
}

async function request() {
  const values = {};
  for (const [key, one] of chosen.fields) {
    values[key] = await one.value();
    if (!values[key]) throw new Error("There is nothing to ask about yet: give a text, or choose a file.");
  }
  const parameters = {};
  for (const one of chosen.options) if (one.value() !== undefined) parameters[one.name] = one.value();
  const inputs = typeof chosen.forms.takes === "string" ? values.input : values;
  return { inputs: [inputs], parameters, model: chosen.model };
}

function credits(said) {
  const took = said.seconds === undefined ? "" : `, ${Number(said.seconds).toLocaleString("en", { maximumSignificantDigits: 2 })} s`;
  const parts = [make("p", `${said.model} ${said.version}, ${said.licence}${took}`, "soft")];
  if (said.weak) parts.unshift(make("p", "This model is weak: do not rely on its answer.", "weak"));
  return parts;
}

function show(said) {
  const source = chosen.fields.map(([, one]) => one.source()).filter(Boolean).pop();
  const parts = said.answers.flatMap((answer) => [...(source && marks(answer).length ? [pictured(source, answer)] : []), ...answered(answer)]);
  byId("answer").replaceChildren(make("h2", "Answer"), ...parts, ...credits(said), raw(said.answers));
  byId("answer").hidden = false;
}

// An answer piece by piece: server-sent events of a POST, which EventSource cannot do.
async function follow(reply) {
  const text = make("p", "", "text"), reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  byId("answer").replaceChildren(make("h2", "Answer"), text);
  byId("answer").hidden = false;
  let left = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (left + value).split("\n\n");
    left = events.pop();
    for (const one of events) {
      const [, name, data] = one.match(/^event: (\w+)\ndata: (.*)$/s);
      const said = JSON.parse(data);
      if (name === "piece") text.textContent += said.text || "";
      else if (name === "error") throw new Error(said.detail);
      else byId("answer").append(...credits(said));
    }
  }
}

async function ask() {
  const body = await request(), streams = chosen.forms.streams;
  const headers = { "content-type": "application/json", accept: streams ? "text/event-stream" : "application/json" };
  const reply = await fetch(`/v1/ready/${encodeURIComponent(chosen.name)}`, { method: "POST", headers, body: JSON.stringify(body) });
  if (!reply.ok) {
    const problem = await reply.json();
    throw new Error(`${problem.title}: ${problem.detail || reply.status}`);
  }
  if (streams) await follow(reply);
  else show(await reply.json());
}

byId("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  refuse("");
  byId("ask").disabled = true;
  byId("state").textContent = "It is at work; the first time the model is opened.";
  try { await ask(); } catch (error) { refuse(error.message); }
  byId("ask").disabled = false;
  byId("state").textContent = "";
});
byId("capability").addEventListener("change", (event) => choose(event.target.value).catch((error) => refuse(error.message)));

const fromAddress = (list) => list.find((name) => name === location.hash.slice(1));

async function begin() {
  const list = (await get("/v1/ready")).capabilities;
  const here = list.filter((one) => one.models.some((model) => model.installed));
  const missing = list.filter((one) => !here.includes(one));
  for (const one of here) byId("capability").append(make("option", one.capability));
  for (const one of missing) byId("missing").querySelector("ul").append(make("li", `${one.capability}: treadle ready install ${one.capability}`));
  byId("missing").hidden = !missing.length;
  if (!here.length) { byId("form").hidden = true; refuse("No model is installed yet."); return; }
  const names = here.map((one) => one.capability);
  const go = (name) => { byId("capability").value = name; return choose(name); };
  addEventListener("hashchange", () => fromAddress(names) && go(fromAddress(names)).catch((error) => refuse(error.message)));
  await go(fromAddress(names) || names[0]);
}
begin().catch((error) => refuse(error.message));
