// What the page does by itself: copy a line, count down, and show calls as they end.
// Everything else works without scripts; htmx does the search and the gateway's figures.
"use strict";

const say = (text) => {
  document.getElementById("said").textContent = text;
};

// --- lines to copy

const showCopies = (root) => {
  if (!navigator.clipboard) return;
  for (const button of root.querySelectorAll("[data-copy]")) button.hidden = false;
};

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
    say("The line is copied.");
  } catch {
    button.textContent = "Not copied";
    say("The browser does not let the page copy. Select the line, and copy it.");
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
});

document.addEventListener("htmx:afterSwap", (event) => {
  showCopies(event.target);
  if (event.target.id === "apps") say(event.target.querySelector("[data-count]").textContent);
});

// --- time left

const spanOf = (seconds) => {
  const minutes = Math.floor(Math.max(0, seconds) / 60);
  if (minutes < 1) return "less than a minute";
  const hours = Math.floor(minutes / 60);
  if (hours >= 48) return `${Math.floor(hours / 24)} days`;
  const parts = [];
  if (hours) parts.push(`${hours} h`);
  if (minutes % 60) parts.push(`${minutes % 60} min`);
  return parts.join(" ");
};

const countDown = () => {
  for (const place of document.querySelectorAll("[data-ends]")) {
    place.textContent = spanOf(Number(place.dataset.ends) - Date.now() / 1000);
  }
};

// --- calls as they end

const MOST_CALLS = 200;

const follow = (place) => {
  const list = document.getElementById("calls");
  const stream = new EventSource(
    `${place.dataset.stream}?after=${encodeURIComponent(place.dataset.after)}`,
  );
  stream.addEventListener("open", () => {
    place.textContent = "Live: calls show up as they end.";
    place.classList.add("on");
  });
  stream.addEventListener("error", () => {
    place.textContent = "Not live now: the gateway is asked again.";
    place.classList.remove("on");
  });
  stream.addEventListener("message", (event) => {
    const made = document.createElement("template");
    made.innerHTML = event.data; // escaped by the gateway; the page's policy runs no script in it
    list.prepend(made.content);
    while (list.children.length > MOST_CALLS) list.lastElementChild.remove();
    document.getElementById("none").hidden = true;
  });
  stream.addEventListener("over", () => {
    stream.close();
    place.textContent = "Your login has ended. Sign in to go on.";
    place.classList.remove("on");
  });
};

showCopies(document);
setInterval(countDown, 15000);
const live = document.querySelector("[data-stream]");
if (live) follow(live);

// --- forms: a double click asks once

const sentAt = new WeakMap();

document.addEventListener("submit", (event) => {
  if (event.target.target === "_blank") return; // one form launches many roles
  if (event.timeStamp - (sentAt.get(event.target) ?? -Infinity) < 2000) event.preventDefault();
  else sentAt.set(event.target, event.timeStamp);
});

// --- requests, as they change

const news = document.getElementById("news");

// What is in use is not moved: a button that goes away under a click answers something else.
const inUse = (place) =>
  place.matches(":focus-within") ||
  place.querySelector("form:hover") !== null ||
  [...place.querySelectorAll("textarea")].some((field) => field.value !== field.defaultValue);

const tell = (text, on) => {
  if (news.textContent !== text) news.textContent = text;
  news.classList.toggle("on", on);
};

const upToDate = () => tell("Changes show up by themselves.", true);

if (news && window.htmx) {
  upToDate();
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden) event.preventDefault(); // nobody looks: the gateway has better to do
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, xhr } = event.detail;
    if (target.id !== "requests" || xhr.status !== 200) return;
    if (!inUse(target)) return;
    event.detail.shouldSwap = false;
    tell("Something has changed: it shows when you have left the form, or after a reload.", false);
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    const status = event.detail.xhr.status;
    if (status === 204) upToDate();
    else if (status !== 200) tell("Not up to date: the gateway does not answer.", false);
  });
  document.addEventListener("htmx:afterSettle", () => {
    upToDate();
    say("The requests have changed.");
  });
}
