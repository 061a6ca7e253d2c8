// Elements that say how long something still takes (`data-countdown`: milliseconds since 1970) say it by the second.

function left(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (n) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

export function start() {
  setInterval(() => {
    for (const place of document.querySelectorAll("[data-countdown]")) {
      place.textContent = left(Number(place.dataset.countdown) - Date.now());
    }
  }, 1000);
}
