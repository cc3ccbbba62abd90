"use strict";

const entries = [...document.querySelectorAll(".entry")];
const bar = document.querySelector("nav");

document.querySelector("body > header h1").after(document.querySelector("#totals"));

// A person is a button in the list, a mask and a skeleton in the image, all with the same data-person.

function partsOf(entry, person) {
  return entry.querySelectorAll(person === undefined ? "[data-person]" : `[data-person="${person}"]`);
}

/** Shows or hides a person of an image, or everybody. */
function show(entry, shown, person) {
  for (const part of partsOf(entry, person)) {
    if (part.matches("button")) part.setAttribute("aria-pressed", shown);
    else part.classList.toggle("off", !shown);
  }
  const everybody = entry.querySelector(".everybody");
  if (everybody) {
    everybody.textContent = anyHidden(entry) ? "Show all" : "Hide all";
    everybody.setAttribute("aria-label", `${everybody.textContent} in ${entry.getAttribute("aria-label")}`);
  }
}

function anyHidden(entry) {
  return entry.querySelector('.person[aria-pressed="false"]') !== null;
}

/** Dims all people of an image except the one with this part; dims nobody if the part is hidden or no person's. */
function spotlight(part) {
  for (const element of document.querySelectorAll(".lit, .spotlight")) {
    element.classList.remove("lit", "spotlight");
  }
  if (!part || part.matches('[aria-pressed="false"]')) return;
  const entry = part.closest(".entry");
  entry.querySelector("svg").classList.add("spotlight");
  for (const other of partsOf(entry, part.dataset.person)) other.classList.add("lit");
}

document.querySelector("main").addEventListener("click", ({ target }) => {
  const entry = target.closest(".entry");
  const part = target.closest("[data-person]");
  if (part) {
    const { person } = part.dataset;
    const button = entry.querySelector(`button[data-person="${person}"]`);
    show(entry, button.matches('[aria-pressed="false"]'), person);
    spotlight(null); // the mouse may be on a person who is now hidden
  } else if (target.matches(".everybody")) {
    show(entry, anyHidden(entry));
  }
});

document.addEventListener("pointerover", ({ target, pointerType }) => {
  if (pointerType === "mouse") spotlight(target.closest("[data-person]"));
});

document.addEventListener("focusin", ({ target }) => {
  if (target.matches(":focus-visible")) spotlight(target.closest("[data-person]"));
});

// The layers are all masks and all skeletons.

for (const button of document.querySelectorAll(".layer")) {
  button.addEventListener("click", () => {
    const hidden = document.body.classList.toggle(`without-${button.dataset.layer}`);
    button.setAttribute("aria-pressed", !hidden);
  });
}

// Navigation between images.

/** Returns the index of the image at the top of the window; 0 above the first one. */
function current() {
  const line = bar.getBoundingClientRect().bottom + 40;
  const after = entries.findIndex((entry) => entry.getBoundingClientRect().top > line);
  return Math.max(0, (after < 0 ? entries.length : after) - 1);
}

function go(step) {
  const entry = entries[current() + step];
  entry?.scrollIntoView();
  tellPlace();
  return entry;
}

function tellPlace() {
  const place = Math.min(current() + 1, entries.length);
  document.querySelector("#place").textContent = `${place} / ${entries.length}`;
}

document.querySelector("#previous").addEventListener("click", () => go(-1));
document.querySelector("#next").addEventListener("click", () => go(1));

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step) go(step)?.focus({ preventScroll: true });
});

addEventListener("scroll", tellPlace, { passive: true });
tellPlace();
