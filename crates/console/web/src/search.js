// Search: the term is sealed to the vault; the server sees which phones it finds, never what was typed.
import { once } from "./busy.js";
import { base64, fromBase64, fromHex } from "./bytes.js";
import { seal } from "./seal.js";
import { post, tell } from "./server.js";

export function start() {
  const form = document.querySelector("form[data-search]");
  if (!form) return;
  const line = form.querySelector("[data-status]");
  const searched = async () => {
    line.textContent = "";
    const values = { field: form.elements.field.value, term: form.elements.term.value.trim() };
    if (!values.term) return;
    try {
      const { order_key } = await post("/orders/key", {});
      const belongsTo = fromHex(form.dataset.session);
      const sealed = await seal(fromBase64(order_key), "search", values, belongsTo);
      const { found, searches_left } = await post("/search", { sealed_search: base64(sealed) });
      const left = `${searches_left} of this session's searches are left.`;
      if (found.length === 0) {
        tell(line, `No phone was found. ${left}`);
      } else if (found.length === 1) location.assign(`/phones/${found[0]}`);
      else location.assign(`/phones?found=${found.map((id) => id.slice(0, 12)).join(",")}`);
    } catch (error) {
      tell(line, error.message, "bad");
    }
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    once(event.submitter, searched);
  });
}
