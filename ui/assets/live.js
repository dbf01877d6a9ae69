// Live updates: the server sends the page's main part again when it has changed. It is morphed into what is there, so that focus,
// selection, what is typed, open details and scroll positions stay. Without scripts a page is as it was when it was opened.

const main = document.querySelector("main[data-live]");
const trouble = document.querySelector(".trouble");
const button = document.querySelector(".live");
const paused = () => localStorage.getItem("omniq-paused") === "yes";
let source = null;

// getAttribute, because a field named "id" would hide a form's property of that name.
const key = (n) => n.getAttribute?.("data-key") ?? null;

function morph(old, now) {
  if (old.isEqualNode(now)) return;
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.nodeValue = now.nodeValue;
    return;
  }
  if (old.matches("form, input, textarea, select")) return; // somebody may be typing there
  for (const { name } of [...old.attributes]) if (name !== "open" && !now.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of [...now.attributes]) if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  children(old, now);
}

function children(old, now) {
  const keyed = new Map([...old.children].filter((n) => key(n) !== null).map((n) => [n.nodeName + key(n), n]));
  let at = old.firstChild;
  for (const n of [...now.childNodes]) {
    const next = at?.nodeName === n.nodeName && key(at) === null ? at : null;
    const match = key(n) === null ? next : keyed.get(n.nodeName + key(n));
    if (!match) {
      old.insertBefore(n, at);
      continue;
    }
    keyed.delete(n.nodeName + key(n));
    if (match === at) at = at.nextSibling;
    else old.insertBefore(match, at);
    morph(match, n);
  }
  while (at?.nextSibling) at.nextSibling.remove();
  at?.remove();
}

// A stream holds one of the few connections that a browser has for a host: none is open while nobody looks.
function follow() {
  button.textContent = paused() ? "Go live" : "Pause live";
  source?.close();
  if (document.hidden || paused()) return;
  source = new EventSource(main.dataset.live);
  source.addEventListener("open", () => (trouble.textContent = ""));
  source.addEventListener("error", (e) => {
    const over = e.target.readyState === EventSource.CLOSED;
    trouble.textContent = over ? "Live updates have ended: load the page again." : "There is no connection: trying again.";
  });
  source.addEventListener("trouble", (e) => (trouble.textContent = e.data));
  source.addEventListener("part", (e) => {
    const t = document.createElement("template");
    t.innerHTML = e.data;
    children(main, t.content);
  });
}

if (main) {
  button.addEventListener("click", () => {
    localStorage.setItem("omniq-paused", paused() ? "no" : "yes");
    follow();
  });
  button.hidden = false;
  document.addEventListener("visibilitychange", follow);
  follow();
}

// Times are in UTC; pointing at one shows it by the clock of who looks.
document.addEventListener("mouseover", (e) => {
  const time = e.target.closest?.("time");
  if (time) time.title = new Date(time.dateTime).toLocaleString();
});
