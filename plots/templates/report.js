"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const byId = (id) => document.getElementById(id);
const said = byId("said");

function say(text) {
  said.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { said.textContent = ""; }, 2500);
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // A page from a file, or without permission: the old way.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  say(`${what} copied`);
}

// Figures sort as figures, words as words; what has no value comes last either way.
function compare(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const difference = Number(a) - Number(b);
  return sign * (Number.isNaN(difference) ? a.localeCompare(b, "en", { numeric: true }) : difference);
}

function sortBy(header) {
  const row = header.parentElement;
  const column = [...row.children].indexOf(header);
  const descending = header.getAttribute("aria-sort") === "ascending";
  for (const other of row.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const body = header.closest("table").tBodies[0];
  const key = (line) => line.cells[column].dataset.sort;
  body.append(...[...body.rows].sort((a, b) => compare(key(a), key(b), descending ? -1 : 1)));
}

// Every word of the filter begins a word of the row, so that VALID does not find INVALID.
function filter(input) {
  const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  const table = byId(input.dataset.filter);
  let shown = 0;
  for (const row of table.tBodies[0].rows) {
    const words = [...row.cells].flatMap((cell) => cell.textContent.toLowerCase().split(/\s+/));
    row.hidden = !wanted.every((start) => words.some((word) => word.startsWith(start)));
    shown += !row.hidden;
  }
  table.closest("section").querySelector(".none").hidden = shown > 0;
}

const plain = (element) => {
  const code = element.querySelector("code");
  if (code) return "`" + code.textContent + "`";
  return element.innerText.replace(/\s+/g, " ").trim();
};

// A table as it is seen: its order, without the rows that a filter hides.
function markdown(source) {
  let lines;
  if (source.tagName === "TABLE") {
    const cells = (row) => [...row.cells].map(plain);
    lines = [cells(source.tHead.rows[0]), ...all("tbody tr:not([hidden])", source).map(cells)];
  } else {
    lines = [["figure", "value"], ...all("div", source).map((entry) => [...entry.children].map(plain))];
  }
  lines.splice(1, 0, lines[0].map(() => "---"));
  return lines.map((line) => `| ${line.map((text) => text.replaceAll("|", "\\|")).join(" | ")} |\n`).join("");
}

const dialog = byId("enlarged");
const pictures = all(".pictures figure");
let current = 0;

function enlarge(index) {
  current = (index + pictures.length) % pictures.length;
  const [image, caption] = ["img", "figcaption"].map((name) => pictures[current].querySelector(name));
  dialog.querySelector("img").src = image.src;
  dialog.querySelector("img").alt = image.alt;
  dialog.querySelector("figcaption").replaceChildren(...caption.cloneNode(true).childNodes);
  if (!dialog.open) dialog.showModal();
}

pictures.forEach((figure, index) => {
  figure.querySelector(".enlarge").addEventListener("click", () => enlarge(index));
});
all("[data-step]", dialog).forEach((button) => {
  button.addEventListener("click", () => enlarge(current + Number(button.dataset.step)));
});
dialog.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step) enlarge(current + step);
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog || event.target.tagName === "IMG") dialog.close();
});
all("th button").forEach((button) => button.addEventListener("click", () => sortBy(button.closest("th"))));
all("[data-filter]").forEach((input) => input.addEventListener("input", () => filter(input)));
all("[data-markdown]").forEach((button) => {
  button.addEventListener("click", () => copy(markdown(byId(button.dataset.markdown)), "Table"));
});
all("[data-command]").forEach((button) => {
  button.addEventListener("click", () => copy(button.previousElementSibling.textContent, "Command"));
});
