"use strict";

const photographs = [...document.querySelectorAll(".photograph")];
const bar = document.querySelector("nav");

document.querySelector("body > header h1").after(document.querySelector("#totals"));

// People: a button in the list, a mask and a skeleton in the picture, all with the same data-person.

function partsOf(photograph, person) {
  return photograph.querySelectorAll(person === undefined ? "[data-person]" : `[data-person="${person}"]`);
}

/** Show or hide a person of a photograph, or everybody. */
function show(photograph, shown, person) {
  for (const part of partsOf(photograph, person)) {
    if (part.matches("button")) part.setAttribute("aria-pressed", shown);
    else part.classList.toggle("off", !shown);
  }
  const everybody = photograph.querySelector(".everybody");
  if (everybody) {
    everybody.textContent = anyHidden(photograph) ? "Show all" : "Hide all";
    everybody.setAttribute("aria-label", `${everybody.textContent} in ${photograph.getAttribute("aria-label")}`);
  }
}

function anyHidden(photograph) {
  return photograph.querySelector('.person[aria-pressed="false"]') !== null;
}

/** Dim all but one person of a photograph; nobody is dimmed for a part that is no person's, or hidden. */
function spotlight(part) {
  for (const element of document.querySelectorAll(".lit, .spotlight")) {
    element.classList.remove("lit", "spotlight");
  }
  if (!part || part.matches('[aria-pressed="false"]')) return;
  const photograph = part.closest(".photograph");
  photograph.querySelector("svg").classList.add("spotlight");
  for (const other of partsOf(photograph, part.dataset.person)) other.classList.add("lit");
}

document.querySelector("main").addEventListener("click", ({ target }) => {
  const photograph = target.closest(".photograph");
  const part = target.closest("[data-person]");
  if (part) {
    const { person } = part.dataset;
    const button = photograph.querySelector(`button[data-person="${person}"]`);
    show(photograph, button.matches('[aria-pressed="false"]'), person);
    spotlight(null); // the mouse is still there, but perhaps on one who is hidden
  } else if (target.matches(".everybody")) {
    show(photograph, anyHidden(photograph));
  }
});

document.addEventListener("pointerover", ({ target, pointerType }) => {
  if (pointerType === "mouse") spotlight(target.closest("[data-person]"));
});

document.addEventListener("focusin", ({ target }) => {
  if (target.matches(":focus-visible")) spotlight(target.closest("[data-person]"));
});

// Layers: all masks, all skeletons.

for (const button of document.querySelectorAll(".layer")) {
  button.addEventListener("click", () => {
    const hidden = document.body.classList.toggle(`without-${button.dataset.layer}`);
    button.setAttribute("aria-pressed", !hidden);
  });
}

// From photograph to photograph.

/** The index of the photograph at the top; the first one above all of them. */
function current() {
  const line = bar.getBoundingClientRect().bottom + 40;
  const after = photographs.findIndex((photograph) => photograph.getBoundingClientRect().top > line);
  return Math.max(0, (after < 0 ? photographs.length : after) - 1);
}

function go(step) {
  const photograph = photographs[current() + step];
  photograph?.scrollIntoView();
  tellPlace();
  return photograph;
}

function tellPlace() {
  const place = Math.min(current() + 1, photographs.length);
  document.querySelector("#place").textContent = `${place} / ${photographs.length}`;
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
