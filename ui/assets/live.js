// Live updates: the server sends the page's main part again when it has changed. It is morphed into what is there, so that focus,
// selection, what is typed, open details and scroll positions stay. Without scripts a page is as it was when it was opened.

const main = document.querySelector("main[data-live]");
const trouble = document.querySelector(".trouble");
const place = document.querySelector(".live");
let source = null;

// getAttribute, because a field named "id" would hide a form's property of that name.
const key = (n) => (n.nodeType === Node.ELEMENT_NODE ? n.getAttribute("data-key") : null);
const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && key(a) === key(b);

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
  const keyed = new Map([...old.childNodes].filter((n) => key(n) !== null).map((n) => [n.nodeName + key(n), n]));
  let at = old.firstChild;
  for (const n of [...now.childNodes]) {
    const match = key(n) !== null ? keyed.get(n.nodeName + key(n)) : at && alike(at, n) ? at : null;
    if (!match || match.parentNode !== old) {
      old.insertBefore(n, at);
      continue;
    }
    keyed.delete(n.nodeName + key(n));
    if (match === at) at = at.nextSibling;
    else old.insertBefore(match, at);
    morph(match, n);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

const paused = () => localStorage.getItem("omniq-paused") === "yes";

// A stream holds one of the few connections that a browser has for a host: none is open while nobody looks.
function follow() {
  const wanted = !document.hidden && !paused();
  if (wanted === (source !== null)) return;
  if (!wanted) {
    source.close();
    source = null;
    return;
  }
  source = new EventSource(main.dataset.live);
  source.addEventListener("open", () => (trouble.textContent = ""));
  source.addEventListener("error", () => {
    const over = source?.readyState === EventSource.CLOSED;
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
  const button = document.createElement("button");
  const label = () => (button.textContent = paused() ? "Go live" : "Pause live");
  button.type = "button";
  button.addEventListener("click", () => {
    localStorage.setItem("omniq-paused", paused() ? "no" : "yes");
    label();
    follow();
  });
  label();
  place.append(button);
  place.hidden = false;
  document.addEventListener("visibilitychange", follow);
  window.addEventListener("pagehide", () => source?.close());
  follow();
}

// Times are in UTC; pointing at one shows it by the clock of who looks.
document.addEventListener("mouseover", (e) => {
  const time = e.target.closest?.("time");
  if (time) time.title = new Date(time.dateTime).toLocaleString();
});
