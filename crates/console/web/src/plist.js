// A property list as XML (Apple's PropertyList-1.0.dtd): what the library's forms are written as.
import { base64 } from "./bytes.js";

// What XML 1.0 has no way to say.
const UNSAYABLE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/;

function escaped(text) {
  if (UNSAYABLE.test(text)) throw new Error("A text has a character in it that a profile can't hold.");
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function element(value) {
  if (value === true) return "<true/>";
  if (value === false) return "<false/>";
  if (typeof value === "string") return `<string>${escaped(value)}</string>`;
  if (Number.isInteger(value)) return `<integer>${value}</integer>`;
  if (value instanceof Uint8Array) return `<data>${base64(value)}</data>`;
  if (Array.isArray(value)) return `<array>${value.map(element).join("")}</array>`;
  const pairs = Object.entries(value).map(([key, of]) => `<key>${escaped(key)}</key>${element(of)}`);
  return `<dict>${pairs.join("")}</dict>`;
}

export function plist(value) {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n<plist version="1.0">${element(value)}</plist>\n`;
}
