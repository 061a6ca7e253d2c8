// The boxes of a list: all of the page at once, and how many are ticked.

const boxes = (list = document) => Array.from(list.querySelectorAll("input[type=checkbox][name=phone]"));

function told() {
  const place = document.querySelector("[data-ticks]");
  if (!place) return;
  const n = boxes().filter((box) => box.checked).length;
  const words = n === 0 ? "Tick phones in the list first." : `${n} ${n === 1 ? "phone is" : "phones are"} ticked.`;
  if (place.textContent !== words) place.textContent = words;
}

export function start() {
  document.addEventListener("matron:refreshed", told);
  document.addEventListener("change", ({ target }) => {
    // A form that has boxes of its own is a list of its own.
    const list = target.closest?.("form") ?? document;
    if (target.dataset?.tickAll !== undefined) for (const box of boxes(list)) box.checked = target.checked;
    told();
  });
}
