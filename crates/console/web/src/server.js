// Requests to the console, and problems in words.

const token = () => document.querySelector('meta[name="matron-token"]')?.content ?? "";

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? `The server answered ${status}.`);
    this.status = status;
    this.code = body.code ?? "";
    this.waits = body.waits === true;
  }
}

const SIGNED_OUT = "You are signed out. Sign in again, in another tab, then do this once more.";

// The line in which a form says what came of it.
export function tell(line, words, kind = "none") {
  line.textContent = words;
  line.className = `app-status app-status--${kind}`;
}

export function post(path, body) {
  return ask(path, {
    method: "POST",
    headers: { "content-type": "application/json", "x-matron-token": token() },
    body: JSON.stringify(body),
  });
}

// JSON of one of our own paths.
export function get(path) {
  return ask(path, { headers: { accept: "application/json" } });
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Problem(0, { detail: "Matron does not answer." });
  }
  // Who is signed out is led to the sign-in.
  if (response.redirected) throw new Problem(401, { detail: SIGNED_OUT });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Problem(response.status, answer);
  return answer;
}
