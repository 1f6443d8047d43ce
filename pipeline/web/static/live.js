// Brings the parts marked data-live up to date, but never the one that has the keyboard.
const SECONDS = 5;

async function update() {
  if (document.hidden) return;
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!response.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = fresh.getElementById(part.id);
    if (next && !part.contains(document.activeElement)) part.replaceWith(document.adoptNode(next));
  }
}

setInterval(() => update().catch(() => {}), SECONDS * 1000);
