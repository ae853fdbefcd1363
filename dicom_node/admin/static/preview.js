// Moves through a series: sliders of the page decide which slice is fetched, in which window, with which marks.
(() => {
  const start = (root) => {
    if (root.dataset.started) return;
    root.dataset.started = "yes";
    const base = root.dataset.base, job = root.dataset.job;
    const find = (name) => root.querySelector(`[name=${name}]`);
    const [image, marks] = root.querySelectorAll("img");
    const short = (name) => Number(Number(find(name).value).toPrecision(4));
    let wanted = 0, busy = false, again = false;
    const fetched = (picture, source) => new Promise((done) => {
      const next = new Image();
      next.onload = () => { picture.src = source; done(); };
      next.onerror = done;
      next.src = source;
    });
    const draw = async () => {
      if (busy) { again = true; return; }
      busy = true;
      wanted = Number(find("slice").value);
      root.querySelector("output[for=slice]").value = `${wanted + 1} of ${Number(find("slice").max) + 1}`;
      root.querySelector("output[for=window]").value = `${short("centre")} / ${short("width")}`;
      const window = `centre=${find("centre").value}&width=${find("width").value}`;
      const all = [fetched(image, `${base}/slice.png?index=${wanted}&${window}`)];
      if (job) all.push(fetched(marks, `${base}/marks.png?job=${job}&index=${wanted}`));
      await Promise.all(all);
      root.dataset.shown = wanted;
      busy = false;
      if (again) { again = false; draw(); }
    };
    for (const name of ["slice", "centre", "width"]) find(name).addEventListener("input", draw);
    find("opacity")?.addEventListener("input", (event) => { marks.style.opacity = event.target.value; });
    root.querySelector(".pictures").addEventListener("wheel", (event) => {
      event.preventDefault();
      find("slice").value = Number(find("slice").value) + Math.sign(event.deltaY);
      draw();
    }, { passive: false });
    draw();
  };
  // a series without a picture, such as a report; errors of images do not bubble
  document.addEventListener("error", (event) => {
    if (event.target instanceof HTMLImageElement && event.target.className === "thumbnail") event.target.remove();
  }, true);
  new MutationObserver(() => document.querySelectorAll(".preview[data-base]").forEach(start))
    .observe(document.documentElement, { childList: true, subtree: true });
  document.querySelectorAll(".preview[data-base]").forEach(start);
})();
