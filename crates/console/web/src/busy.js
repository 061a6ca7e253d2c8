// A button whose work is under way does nothing more. It is not disabled: that would take the focus away, and whoever
// works by keyboard would start again at the top of the page.
export async function once(button, work) {
  if (button?.getAttribute("aria-disabled") === "true") return;
  button?.setAttribute("aria-disabled", "true");
  try {
    await work();
  } finally {
    button?.removeAttribute("aria-disabled");
  }
}
