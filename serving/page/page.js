"use strict";
// The console: asks /console.json and writes it as text, never as markup.
const make = (tag, text, kind) => {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  if (kind) node.className = kind;
  return node;
};
const put = (parent, ...children) => { parent.append(...children.filter(Boolean)); return parent; };
const number = (value) => (value === null || value === undefined ? "—" : Number(value).toLocaleString("en", { maximumSignificantDigits: 4 }));
const count = (value) => Number(value).toLocaleString("en"); // of rows and times: every one of them
const several = (value, name) => `${count(value)} ${name}${value === 1 ? "" : "s"}`;
const unfolded = new Set(); // the page is written anew every few seconds, and what a person opened stays open
const moment = (text) => (text ? text.slice(0, 16).replace("T", " ") : "—");
const link = (text, address) => { const a = make("a", text); a.href = address; return a; };

function fact(list, name, value) {
  const pair = make("div");
  list.append(put(pair, make("dt", name), make("dd", value === null || value === undefined ? "—" : value)));
}

function quality(model) {
  const table = make("table"), head = make("tr");
  const names = ["Answered between", "rows", "with labels", `${model.metric}, measured`, "estimated before"];
  for (const name of names) head.append(make("th", name));
  table.append(head);
  for (const span of model.quality.windows) {
    const row = make("tr");
    for (const text of [
      `${moment(span.from)} – ${moment(span.to)}`, count(span.answered), `${number(span.coverage * 100)} %`,
      span.metric !== null ? number(span.metric) : span.labelled ? "too few labels" : "unknown",
      span.estimate === null ? "unknown" : `${number(span.estimate)} (${number(span.low)} – ${number(span.high)})`,
    ]) row.append(make("td", text));
    names.forEach((name, place) => { row.children[place].dataset.head = name; }); // on a phone a row is a block
    table.append(row);
  }
  return [make("h3", "Quality"), ...model.quality.said.map((line) => make("p", line)), model.quality.windows.length ? table : null].filter(Boolean);
}

function card(model) {
  const section = make("section");
  put(section, put(make("div", undefined, "top"), make("h2", model.name), make("span", model.problem ? `${model.problem} of ${model.target}, ${model.family}` : "", "soft")));
  if (model.degraded) section.append(make("p", `Version ${model.champion} does not answer${model.version ? `, version ${model.version} still does` : ""}: ${model.degraded}`, "degraded"));
  const facts = make("dl", undefined, "facts");
  fact(facts, "Champion", `version ${model.champion}`);
  fact(facts, "Challenger", model.challenger ? `version ${model.challenger}` : "none");
  fact(facts, "Previous", model.previous ? `version ${model.previous}` : "none");
  if (model.release) fact(facts, "Tried now", `version ${model.release.version}, ${model.release.mode === "canary" ? `${number(model.release.percent)} % of the callers` : "shadow"}, since ${moment(model.release.started)}: ${model.release.reason}`);
  if (model.metrics) fact(facts, model.metric, number(model.metrics[model.metric]));
  fact(facts, "Learned until", model.data_until ? moment(model.data_until) : "—");
  section.append(facts, make("h3", "Last verdict"));
  if (model.verdict) {
    const former = model.verdict.version === model.champion ? "" : `, of version ${model.verdict.version}: version ${model.champion} was not looked at yet`;
    put(section, put(make("p"), make("span", model.verdict.verdict, `verdict ${model.verdict.verdict}`), make("span", `  ${moment(model.verdict.at)}, ${several(model.verdict.rows, "prediction")}; ${several(model.verdict.labelled, "labelled row")} for its errors${former}`, "soft")), make("p", model.verdict.reason));
  } else section.append(make("p", "Not looked at yet. The watch runs by itself while the platform is up.", "soft"));
  if (model.quality) section.append(...quality(model));
  const reports = make("p");
  if (model.verdict && model.verdict.page) put(reports, link("This look", model.verdict.page), make("span", "  "));
  if (model.verdict && model.verdict.report) put(reports, link("Evidently's report", model.verdict.report), make("span", "  "));
  if (model.validation) reports.append(link("Validation of the data", model.validation));
  if (reports.childNodes.length) section.append(reports);
  if (model.looks.length > 1) {
    const table = make("table");
    for (const look of model.looks.slice(1)) put(table, put(make("tr"), put(make("td"), look.page ? link(moment(look.at), look.page) : moment(look.at)), make("td", look.verdict, look.verdict), make("td", look.reason)));
    const folded = make("details");
    folded.open = unfolded.has(model.name);
    folded.addEventListener("toggle", () => (folded.open ? unfolded.add(model.name) : unfolded.delete(model.name)));
    section.append(put(folded, make("summary", `${model.looks.length - 1} looks before`), table));
  }
  if (model.decisions.length) {
    const table = make("table");
    for (const decision of model.decisions) put(table, put(make("tr"), make("td", moment(decision.at)), make("td", decision.kind, decision.kind), make("td", decision.times > 1 ? `${decision.reason} (${decision.times} times in a row)` : decision.reason)));
    section.append(make("h3", "Last decisions"), table);
  }
  section.append(...retrains(model.governor));
  return section;
}

function retrains(governor) {
  if (!governor) return [];
  const said = governor.policy === "treadle" ? [] : [make("p", `The policy is ${governor.policy}.`, "soft")];
  if (governor.breaker) said.push(make("p", `The breaker is open: ${governor.breaker}`, "degraded"));
  if (governor.followed) said.push(make("p", governor.followed, "soft"));
  const rules = Object.entries(governor.suppressed);
  if (rules.length) said.push(make("p", `Triggers suppressed: ${rules.map(([rule, times]) => `${times} by ${rule}`).join(", ")}; ${governor.waiting} of them wait for one retrain.`, "soft"));
  if (governor.labels_set_aside) said.push(make("p", `${several(governor.labels_set_aside, "label")} set aside as suspicious: treadle labels list`, "degraded"));
  return said.length ? [make("h3", "Retrains"), ...said] : [];
}

function alertCard(data) {
  const section = make("section");
  section.append(make("h2", "Open alerts"));
  const table = make("table");
  for (const alert of data.alerts) {
    const said = make("td", `${alert.project}: ${alert.said}${alert.subject ? ` (${alert.subject})` : ""}. ${alert.reason} `);
    if (alert.page) said.append(link("Page", alert.page));
    const times = alert.times > 1 ? `${count(alert.times)} times since ${moment(alert.at)}` : moment(alert.at);
    const state = put(make("td"), make("span", times, "soft"));
    if (alert.silenced_until) put(state, make("br"), make("span", `silenced until ${moment(alert.silenced_until)}`, "soft"));
    if (alert.acknowledged_by) put(state, make("br"), make("span", `acknowledged by ${alert.acknowledged_by}`, "soft"));
    else if (data.may_change) state.append(make("br"), acknowledging(alert));
    put(table, put(make("tr"), state, make("td", alert.severity, alert.severity), said));
  }
  return put(section, table);
}

function acknowledging(alert) {
  const button = make("button", "Acknowledge");
  button.addEventListener("click", async () => {
    const reply = await fetch(`/v1/models/${encodeURIComponent(alert.project)}/alerts/${alert.id}/acknowledge`, { method: "POST" });
    if (reply.ok) { show(); return; }
    button.replaceWith(make("span", `Not acknowledged: ${(await reply.json()).detail}`, "degraded"));
  });
  return button;
}

async function show() {
  const notice = document.getElementById("notice");
  try {
    const reply = await fetch("/console.json");
    if (reply.status === 401) { location.assign("/login"); return; }
    const data = await reply.json();
    document.getElementById("leave").hidden = !data.signed_in;
    for (const name of ["prefect", "mlflow"]) document.getElementById(name).href = data.links[name];
    const cards = data.models.map(card);
    if (data.alerts.length) cards.unshift(alertCard(data));
    document.getElementById("models").replaceChildren(...(cards.length ? cards : [document.getElementById("empty").content.cloneNode(true)]));
    const troubles = Object.entries(data.degraded).filter(([name]) => !data.models.some((model) => model.name === name));
    notice.textContent = troubles.map(([name, why]) => `${name}: ${why}`).join(" ");
    notice.hidden = !troubles.length;
  } catch (error) {
    notice.textContent = "The service does not answer. Is the platform up? `treadle status` says.";
    notice.hidden = false;
  }
}
show();
setInterval(show, 5000);
