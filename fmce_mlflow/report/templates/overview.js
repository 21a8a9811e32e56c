"use strict";
(() => {
  const words = new Intl.Collator("en", { numeric: true });
  const keyOf = (row, column, number) => {
    const cell = row.cells[column], key = cell.dataset.key ?? cell.textContent.trim();
    if (!number && cell.dataset.key === undefined) return key === "–" ? "" : key;
    const value = parseFloat(key);
    return Number.isNaN(value) ? "" : value;
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : words.compare(a, b));
  const sort = (table, head) => {
    const down = head.getAttribute("aria-sort") === "ascending";
    const column = head.cellIndex, number = head.classList.contains("number"), body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [keyOf(row, column, number), row]);
    // Rows that have nothing in the column come last either way; of equal ones the order stays.
    rows.sort(([a], [b]) => (a === "" || b === "" ? (a === "") - (b === "") : down ? compare(b, a) : compare(a, b)));
    const sorted = document.createDocumentFragment();
    for (const [, row] of rows) sorted.append(row);
    body.append(sorted);
    for (const other of head.parentElement.cells) if (other.ariaSort) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
  };
  for (const table of document.querySelectorAll(".registry")) {
    for (const head of table.tHead.rows[0].cells) {
      if (head.classList.contains("fixed")) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => sort(table, head));
    }
  }
})();
