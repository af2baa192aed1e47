"use strict";
// People whom search-faces knows: who is in a collection, enrolling with a note of the consent, forgetting.
const facesOf = () => `/v1/ready/faces/${encodeURIComponent(byId("option-collection").value)}`;

async function tell(address, body) {
  const isForm = body instanceof FormData, headers = isForm ? {} : { "content-type": "application/json" };
  const reply = await fetch(address, { method: "POST", headers, body: isForm ? body : JSON.stringify(body) });
  const said = await reply.json();
  if (!reply.ok) throw new Error(`${said.title}: ${said.detail || reply.status}`);
  return said;
}

// What takes a moment, with its failure told; a button that was pressed waits for it.
async function guarded(button, what) {
  refuse("");
  button.disabled = true;
  try { await what(); } catch (error) { refuse(error.message); }
  button.disabled = false;
}

function forgetting(person) {
  const button = make("button", "Forget", "second");
  button.type = "button";
  button.setAttribute("aria-label", `Forget ${person.person}`);
  button.addEventListener("click", () => {
    if (button.textContent === "Forget") { button.textContent = "Forget for good?"; return; }
    guarded(button, async () => {
      await tell(`${facesOf()}/forget`, { person: person.person });
      await listPeople();
    });
  });
  return button;
}

function entry(person) {
  const line = make("li"), when = new Date(person.at).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });
  const pictures = `${person.pictures} picture${person.pictures > 1 ? "s" : ""}`;
  line.append(make("strong", person.person), make("p", `Consent: ${person.consent}`), make("p", `${pictures}, enrolled by ${person.by}, ${when}`, "soft"));
  line.append(forgetting(person));
  return line;
}

async function listPeople() {
  const reply = await fetch(facesOf());
  if (reply.status === 403) { byId("people").hidden = true; return; } // a key that is bound to projects
  const people = reply.ok ? (await reply.json()).people : [];
  const list = make("ul", undefined, "people");
  list.append(...people.map(entry));
  byId("known").replaceChildren(people.length ? list : make("p", "Nobody yet.", "soft"));
}

async function enroll() {
  const body = new FormData();
  body.append("person", byId("person").value);
  body.append("consent", byId("consent").value);
  for (const file of byId("pictures").files) body.append("picture", file);
  await tell(facesOf(), body);
  byId("enroll").reset();
  await listPeople();
}

// Shown with search-faces alone, and to those who may change collections.
async function showPeople(name) {
  byId("people").hidden = true;
  if (name !== "search-faces" || !(await get("/console.json")).may_change) return;
  byId("option-collection").addEventListener("change", () => listPeople().catch((error) => refuse(error.message)));
  byId("people").hidden = false;
  await listPeople();
}

byId("enroll").addEventListener("submit", (event) => {
  event.preventDefault();
  guarded(byId("enroll").querySelector("button"), enroll);
});
