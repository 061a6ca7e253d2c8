// Invitations: links become cards with a QR code, and cards a sheet to print; a file of many is looked at row by row.
// Links and what a file says stay in this page.
import Papa from "papaparse";
import { hex, moment } from "./bytes.js";
import { card, element, show } from "./cards.js";
import { holdersCard } from "./holder.js";
import { tell } from "./server.js";

// As crates/matron/src/cli/invite.rs, where the rows are invited.
const MOST_ROWS = 20_000;
const MOST_TOLD = 50;
const CONTROL = /\p{Cc}/u;
const GROUP = /^[a-z0-9-]{1,64}$/;

function invited(event) {
  const form = event.target;
  if (form.id !== "invite" || !event.detail.answer) return;
  const [enrolment, secret, expires_at_ms, base, grouped] = event.detail.answer;
  const link = `${base.replace(/\/+$/, "")}/enrol/${secret}`;
  const until = moment(Number(expires_at_ms));
  const { name, email, group } = form.elements;
  const invitation = card({ name: name.value.trim(), group: `${group.value.trim()} · ${hex(enrolment).slice(0, 8)}`, link, until });
  show(grouped ? [invitation, holdersCard(grouped, name.value.trim())] : [invitation]);
  name.value = "";
  email.value = "";
}

// What the vault would refuse, in words; the same checks as the command line's.
function wrong({ name, email, group }) {
  const fits = (text, most) => text.length > 0 && Array.from(text).length <= most && !CONTROL.test(text);
  const found = [];
  if (!fits(name, 200)) found.push("the name has to be 1 to 200 characters");
  if (!fits(email, 254) || !email.includes("@") || /\s/.test(email)) found.push("the email is not an address");
  if (!GROUP.test(group)) found.push("the group has to be small letters, digits and hyphens, such as ward-7");
  return found;
}

// Rows of a file, each with its place in it: { head, rows: [{ line, cells }] }.
function read(text) {
  const { data } = Papa.parse(text.replace(/^\ufeff/, ""), { skipEmptyLines: "greedy" });
  const [head = [], ...rest] = data.map((row) => row.map((cell) => cell.trim()));
  return { head: head.map((h) => h.toLowerCase()), rows: rest.map((cells, n) => ({ line: n + 2, cells })) };
}

function judged({ head, rows }, groupOfAll) {
  const at = (name) => head.indexOf(name);
  const cell = (cells, name) => (at(name) < 0 ? "" : (cells[at(name)] ?? ""));
  return rows.map(({ line, cells }) => {
    const row = { line, name: cell(cells, "name"), email: cell(cells, "email"), group: cell(cells, "group") || groupOfAll };
    const link = cell(cells, "link");
    const shape = cells.length === head.length ? [] : [`it has ${cells.length} columns, the first line ${head.length}`];
    return { ...row, link, until: cell(cells, "expires"), code: cell(cells, "holder_code"), wrong: [...shape, ...wrong(row)] };
  });
}

async function looked(form) {
  const line = form.querySelector("[data-status]");
  const told = (words, kind) => tell(line, words, kind);
  const command = document.getElementById("many-command");
  const mend = document.getElementById("many-wrong");
  command.hidden = mend.hidden = true;
  const [file] = form.elements.file.files;
  if (!file) return told("", "none");
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    return told("The file is not UTF-8 text. In Excel, save it as 'CSV UTF-8'. Nobody was invited.", "bad");
  }
  const table = read(text);
  if (!table.head.includes("name") || !table.head.includes("email")) {
    return told("The first line has to name the columns: name,email,group. Nobody was invited.", "bad");
  }
  if (table.rows.length === 0 || table.rows.length > MOST_ROWS) {
    return told(`The file has ${table.rows.length} rows; 1 to ${MOST_ROWS} can be invited. Nobody was.`, "bad");
  }
  const rows = judged(table, form.elements.group.value.trim());
  const bad = rows.filter((r) => r.wrong.length > 0);
  if (bad.length > 0) {
    const more = bad.length > MOST_TOLD ? ` The first ${MOST_TOLD} of them are shown.` : "";
    told(`${bad.length} of ${rows.length} rows have to be mended first. Nobody was invited.${more}`, "bad");
    mend.querySelector("tbody").replaceChildren(...bad.slice(0, MOST_TOLD).map((r) => {
      const td = (...inside) => element("td", { class: "nhsuk-table__cell" }, ...inside);
      const says = [r.name, r.email, r.group].map((t) => t.slice(0, 80) || "–").join(", ");
      return element("tr", { class: "nhsuk-table__row" }, td(String(r.line)), td(says), td(r.wrong.join("; ")));
    }));
    mend.hidden = false;
    return undefined;
  }
  if (table.head.includes("link")) {
    const linked = rows.filter((r) => /^https:\/\//.test(r.link));
    show(linked.flatMap((r) => (r.code ? [card(r), holdersCard(r.code, r.name)] : [card(r)])), true);
    const left = rows.length - linked.length;
    const without = left > 0 ? ` ${left} of its rows hold no link.` : "";
    return told(`${linked.length} links, from the file.${without} They stay in this page; print the sheet above.`, left > 0 ? "waits" : "good");
  }
  // A POSIX shell takes what stands in single quotes as it is.
  const quoted = (word) => (/^[A-Za-z0-9._-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
  const group = form.elements.group.value.trim();
  command.querySelector("pre code").textContent =
    `matron invite --csv ${quoted(file.name)}${table.head.includes("group") && !group ? "" : ` --group ${quoted(group)}`}`;
  command.hidden = false;
  return told(`All ${rows.length} rows are good. Nobody is invited yet.`, "good");
}

export function start() {
  if (!document.getElementById("invite")) return;
  document.addEventListener("matron:placed", invited);
  const many = document.getElementById("many");
  many.addEventListener("change", () => looked(many));
  many.addEventListener("submit", (event) => event.preventDefault());
}
