"use strict";
// Everything from the project is set as text, never as HTML.

const $ = (id) => document.getElementById(id);
const STATES = { approved: "approved", edited: "saved, not approved", stale: "something has changed since", own: "your own file", draft: "draft" };
const SHORT = { ...STATES, edited: "saved", stale: "read again", own: "your file" };
const DONE = new Set(["approved", "own"]);
const WAIT = 200; // ms between the last key and the check of what was typed

let cards = []; // as the server gave them
let here = ""; // source of the card on show
let filter = "all";
let checks = 0; // running number, so that a late answer is not shown
let timer = 0;
let busy = false;
const unsaved = new Map(); // source -> text that was typed and not saved
const based = new Map(); // source -> `seen` of the card that the unsaved text was typed on
const conflicts = new Map(); // source -> why its last save was refused

const make = (tag, text = "", name = "") => Object.assign(document.createElement(tag), { textContent: text, className: name });
const card = () => cards.find((one) => one.source === here);
const text = () => unsaved.get(here) ?? card().caption;
const shown = () => cards.filter((one) => one.source === here || filter === "all"
  || (filter === "open" ? !DONE.has(one.state) : one.findings.length > 0));

async function ask(path, body) {
  const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw Object.assign(new Error("The page's server does not answer. Your text is kept here; start it again, then save."), { card: null });
  }
  const content = (answer.headers.get("Content-Type") ?? "").startsWith("application/json") ? await answer.json() : {};
  if (!answer.ok) throw Object.assign(new Error(content.message ?? `The server answers ${answer.status}.`), { card: content.card });
  return content;
}

function tell(message) {
  $("problem").textContent = message;
  $("problem").hidden = !message;
}

function take(overview) {
  cards = overview.cards;
  $("folder").textContent = overview.folder;
  const done = cards.filter((one) => DONE.has(one.state)).length;
  $("count").textContent = `${done} of ${cards.length} approved`;
  $("bar").max = cards.length;
  $("bar").value = done;
  document.title = `Captions, ${done} of ${cards.length} approved`;
  $("overall").replaceChildren(...overview.overall.map((one) => finding(one)));
  window.limit = overview.limit;
  window.word = overview.name;
}

const sentence = (words) => `${words[0].toUpperCase()}${words.slice(1)}. `;

function finding(one) {
  const item = make("li", "", one.severity);
  item.append(make("strong", one.check), make("span", sentence(one.message)), make("span", sentence(one.advice), "advice"));
  if (one.suggestion) {
    const button = make("button", `Use “${one.suggestion}”`);
    button.type = "button";
    button.addEventListener("click", () => write(one.suggestion));
    item.append(document.createElement("br"), button);
  }
  return item;
}

function withWord(prompt) {
  const [first, ...rest] = prompt.split(window.word);
  return [first, ...rest.flatMap((part) => [make("b", window.word), part])];
}

function showCheck(findings, prompts) {
  $("findings").replaceChildren(...findings.map(finding));
  $("prompts").hidden = prompts.length === 0;
  $("tokens").textContent = "tokens are not counted";
  if (prompts.length === 0) return;
  const [longest, tokens] = prompts[0];
  // No limit where longer prompts are read in windows.
  $("tokens").textContent = window.limit === null ? `${tokens} tokens` : `${tokens} of ${window.limit} tokens`;
  $("tokens").classList.toggle("over", window.limit !== null && tokens > window.limit);
  $("prompt").replaceChildren(...withWord(longest));
  $("more").textContent = `all ${prompts.length} prompts of the template`;
  $("all-prompts").replaceChildren(...prompts.map(([prompt, count]) => {
    const item = make("li");
    item.append(...withWord(prompt), ` (${count})`);
    return item;
  }));
}

function showList() {
  const focused = $("list").contains(document.activeElement);
  $("list").replaceChildren(...shown().map((one) => {
    const item = make("li");
    const button = make("button");
    button.type = "button";
    button.dataset.source = one.source;
    button.title = one.source;
    button.setAttribute("aria-current", String(one.source === here));
    const image = Object.assign(make("img"), { src: `pictures/${one.pictures[0].id}`, alt: "", loading: "lazy" });
    const label = make("span");
    const [state, name] = unsaved.has(one.source) ? ["not saved", "unsaved"] : [SHORT[one.state], one.state];
    label.append(make("span", one.source, "name"), make("span", state, `state ${name}`));
    button.append(image, label);
    if (one.findings.length) {
      const found = make("span", one.findings.length, "badge");
      found.append(make("span", " found", "unseen"));
      button.append(found);
    }
    button.addEventListener("click", () => show(one.source));
    item.append(button);
    return item;
  }));
  const current = $("list").querySelector('[aria-current="true"]');
  current?.scrollIntoView({ block: "nearest", inline: "nearest" });
  if (focused) current?.focus();
  $("nothing").hidden = shown().length > 0;
}

function showState() {
  const one = card();
  const changed = unsaved.has(here);
  $("state").textContent = changed ? "not saved" : STATES[one.state] + (one.who ? `, ${one.who} ${one.when}` : "");
  $("state").className = `state ${changed ? "unsaved" : one.state}`;
}

function show(source, focus = true) {
  const moved = source !== here;
  here = source;
  checks += 1; // what is still being checked was typed on the card before
  const one = card();
  $("card").hidden = !one;
  showList();
  if (!one) return;
  $("source").textContent = one.source;
  $("picture").src = `pictures/${one.pictures[0].id}`;
  $("picture").alt = one.source;
  $("others").replaceChildren(...one.pictures.slice(1).map((other) => {
    const figure = make("figure");
    figure.append(Object.assign(make("img"), { src: `pictures/${other.id}`, alt: other.id }), make("figcaption", other.draft));
    return figure;
  }));
  $("draft").textContent = one.draft;
  $("cut").textContent = one.cut.length ? `Cut from it: ${one.cut.map((phrase) => `“${phrase}”`).join(", ")}` : "";
  $("use-draft").hidden = one.suggested === text();
  $("stale").textContent = `This text is used, but ${one.changed}. Read it again and approve it.`;
  $("stale").hidden = one.state !== "stale";
  if (moved) $("status").textContent = "";
  $("conflict").hidden = !conflicts.has(here);
  $("theirs").textContent = conflicts.get(here) ?? "";
  if ($("caption").value !== text()) $("caption").value = text();
  showState();
  showCheck(one.findings, one.prompts);
  if (unsaved.has(here)) check();
  if (focus) $("caption").focus();
}

function typed() {
  const one = card();
  const value = $("caption").value.replace(/\s*\n\s*/g, " ");
  if (value === one.caption) {
    unsaved.delete(here);
    based.delete(here);
  } else {
    if (!unsaved.has(here)) based.set(here, one.seen);
    unsaved.set(here, value);
  }
  $("use-draft").hidden = one.suggested === value;
  showState();
  showList();
  clearTimeout(timer);
  timer = setTimeout(check, WAIT);
}

function write(value) {
  $("caption").value = value;
  $("caption").focus();
  typed();
}

async function check() {
  const number = ++checks;
  try {
    const found = await ask("api/check", { source: here, caption: text() });
    if (number === checks) showCheck(found.findings, found.prompts);
  } catch (error) {
    tell(error.message);
  }
}

async function save(approved) {
  if (busy || !card()) return false;
  busy = true;
  const source = here;
  const sent = text();
  const seen = based.get(source) ?? card().seen;
  try {
    const overview = await ask("api/save", { source, caption: sent, approved, seen });
    clearTimeout(timer);
    checks += 1;
    if (unsaved.get(source) === sent) unsaved.delete(source); // typed on meanwhile: that stays to be saved
    based.delete(source);
    conflicts.delete(source);
    take(overview);
    if (unsaved.has(source)) based.set(source, cards.find((one) => one.source === source).seen);
    tell("");
    show(here, false);
    $("status").textContent = `${source}: ${approved ? "approved" : "saved"}`;
    return true;
  } catch (error) {
    if (error.card) conflict(error, source, sent, seen);
    else tell(error.message);
    return false;
  } finally {
    busy = false;
  }
}

// The person may be on another card by now: all of this is about `source`.
function conflict(error, source, sent, seen) {
  cards = cards.map((one) => (one.source === source ? error.card : one));
  if (!unsaved.has(source)) unsaved.set(source, sent);
  based.set(source, seen);
  conflicts.set(source, `${error.message} It reads now: “${error.card.caption}”`);
  show(here, false);
  $("status").textContent = `${source}: not saved`;
}

function settle(mine) {
  conflicts.delete(here);
  if (mine) {
    based.set(here, card().seen);
  } else {
    unsaved.delete(here);
    based.delete(here);
  }
  show(here);
}

function step(by, focus = true) {
  const visible = shown();
  const at = visible.findIndex((one) => one.source === here) + by;
  if (visible[at]) show(visible[at].source, focus);
}

async function approve() {
  const before = shown();
  const at = before.findIndex((one) => one.source === here);
  const source = here;
  const focus = document.activeElement === $("caption");
  if (!await save(true) || here !== source) return;
  const open = [...before.slice(at + 1), ...before.slice(0, at)].map((one) => one.source)
    .find((name) => !DONE.has(cards.find((one) => one.source === name)?.state));
  if (open) show(open, focus);
  else $("status").textContent = filter === "found" ? "All of these are approved." : "All captions are approved. Run dvc repro to go on.";
}

document.addEventListener("keydown", (event) => {
  const writing = document.activeElement === $("caption");
  const control = event.ctrlKey || event.metaKey;
  const actions = {
    "control Enter": approve, "control s": () => save(false), "alt ArrowDown": () => step(1), "alt ArrowUp": () => step(-1),
    ...(writing ? { Enter: () => {}, Escape: () => $("caption").blur() }
      : { j: () => step(1, false), k: () => step(-1, false), a: approve, e: () => $("caption").focus() }),
  };
  const held = (control ? "control " : "") + (event.altKey ? "alt " : "");
  const action = actions[held + (event.key.length === 1 ? event.key.toLowerCase() : event.key)];
  if (!action || event.isComposing) return;
  event.preventDefault();
  action();
});
$("caption").addEventListener("input", typed);
$("approve").addEventListener("click", approve);
$("save").addEventListener("click", () => save(false));
$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
$("take-theirs").addEventListener("click", () => settle(false));
$("keep-mine").addEventListener("click", () => settle(true));
$("use-draft").addEventListener("click", () => write(card().suggested));
document.querySelectorAll("[name=filter]").forEach((input) => input.addEventListener("change", () => {
  filter = input.value;
  here = "";
  show(shown()[0]?.source ?? "", false);
}));
window.addEventListener("beforeunload", (event) => unsaved.size > 0 && event.preventDefault());

ask("api/cards").then((overview) => {
  take(overview);
  show((cards.find((one) => !DONE.has(one.state)) ?? cards[0])?.source ?? "");
}).catch((error) => tell(error.message));
