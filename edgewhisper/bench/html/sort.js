"use strict";

// A heading sorts its column: ascending, descending, then as it was. What was not measured comes last.
const collator = new Intl.Collator(undefined, { numeric: true });

function key(row, index, numeric) {
  const cell = row.cells[index];
  if (numeric) return cell?.dataset.value === undefined ? null : Number(cell.dataset.value);
  return cell === undefined || cell.matches(".missing, .failure") ? null : cell.textContent;
}

function sorted(rows, index, numeric, direction) {
  const keys = new Map(rows.map((row) => [row, key(row, index, numeric)]));
  return [...rows].sort((first, second) => {
    const [a, b] = [keys.get(first), keys.get(second)];
    if (a === null || b === null) return (a === null) - (b === null);
    return direction * (numeric ? a - b : collator.compare(a, b));
  });
}

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const written = [...body.rows];
  const headings = [...table.querySelectorAll("th[data-sort]")];
  headings.forEach((heading, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const next = { ascending: "descending", descending: null }[heading.getAttribute("aria-sort")];
      const order = next === undefined ? "ascending" : next;
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      if (order === null) return body.append(...written);
      heading.setAttribute("aria-sort", order);
      const numeric = heading.classList.contains("number");
      body.append(...sorted(written, index, numeric, order === "ascending" ? 1 : -1));
    });
  });
}

// On paper everything is open.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => (each.open = true)));
