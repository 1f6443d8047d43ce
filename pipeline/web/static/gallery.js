// Arrow keys move between the tiles of a gallery; Tab and Enter work without this.
const tiles = [...document.querySelectorAll(".tile")];
const columns = () => tiles.filter((tile) => tile.offsetTop === tiles[0].offsetTop).length;

document.addEventListener("keydown", (event) => {
  const place = tiles.indexOf(document.activeElement);
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(), ArrowDown: columns() }[event.key];
  if (place < 0 || !step || event.altKey || event.ctrlKey || event.metaKey) return;
  const next = tiles[place + step];
  if (next) {
    event.preventDefault();
    next.focus();
  }
});
