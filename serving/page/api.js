"use strict";
// The API page: every operation of /openapi.json, with its example in a form that sends it.
const make = (tag, text, kind) => {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (kind) node.className = kind;
  return node;
};

function columns(schema) {
  const rows = schema && schema.properties && schema.properties.rows;
  if (!rows || !rows.items.properties) return null;
  const table = make("table");
  for (const [name, kind] of Object.entries(rows.items.properties)) {
    const line = make("tr");
    const values = (kind.examples || [kind.format || ""]).slice(0, 6).join(", ");
    line.append(make("td", name), make("td", [].concat(kind.type).join(" or ")), make("td", values), make("td", kind.description, "soft"));
    table.append(line);
  }
  const details = make("details");
  details.append(make("summary", "Columns"), table);
  return details;
}

// The feedback form gets the id of the prediction that was answered last, so that it works as it stands.
const inputs = new Map();
function offer(path, id) {
  const input = inputs.get(path.replace(/predict$/, "feedback"));
  if (input) input.value = input.value.replace(/"id": "[^"]*"/, `"id": ${JSON.stringify(id)}`);
}

function operation(path, method, entry) {
  const section = make("section");
  section.append(make("h2", entry.summary || path), make("p", `${method.toUpperCase()} ${path}`, "soft"));
  const body = entry.requestBody && entry.requestBody.content["application/json"];
  const input = make("textarea");
  input.setAttribute("aria-label", "Request body");
  inputs.set(path, input);
  if (body) {
    input.value = JSON.stringify(body.example, null, 1);
    const known = columns(body.schema);
    if (known) section.append(known);
    if (!path.includes("{") && !entry["x-no-form"]) section.append(input);
    else section.append(make("pre", input.value));
  }
  if (path.includes("{") || entry["x-no-form"]) return section;
  const button = make("button", "Send");
  const answer = make("pre");
  answer.hidden = true;
  button.addEventListener("click", async () => {
    const options = body ? { method, body: input.value, headers: { "content-type": "application/json" } } : { method };
    const reply = await fetch(path, options);
    const text = await reply.text();
    let shown = text;
    try {
      const said = JSON.parse(text);
      shown = JSON.stringify(said, null, 1);
      if (path.endsWith("/predict") && reply.ok) offer(path, said.predictions[0].id);
    } catch (error) { /* plain text, such as metrics */ }
    answer.textContent = `${reply.status} ${reply.statusText}\n${shown}`;
    answer.hidden = false;
  });
  const line = make("div");
  line.append(button);
  section.append(line, answer);
  return section;
}

async function show() {
  const document_ = await (await fetch("/openapi.json")).json();
  const all = Object.entries(document_.paths).flatMap(([path, methods]) => Object.entries(methods).filter(([method]) => method !== "parameters").map(([method, entry]) => operation(path, method, entry)));
  const posts = all.filter((section) => section.querySelector("textarea"));
  document.getElementById("operations").replaceChildren(...posts, ...all.filter((section) => !posts.includes(section)));
}
show().catch(() => document.getElementById("operations").replaceChildren(make("p", "The service does not answer. Is the platform up? `treadle status` says.", "degraded")));
