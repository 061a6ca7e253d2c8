// The boxes of a list: all of the page at once, and how many are ticked.

const boxes = () => Array.from(document.querySelectorAll("input[type=checkbox][name=phone]"));

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
    if (target.dataset?.tickAll !== undefined) for (const box of boxes()) box.checked = target.checked;
    told();
  });
}
