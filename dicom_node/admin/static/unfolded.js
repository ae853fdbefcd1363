// Keeps open what somebody unfolded, and shut what they shut, while the page renews what it shows.
(() => {
  const chosen = new Map();
  document.addEventListener("toggle", (event) => {
    const key = event.target.dataset?.key;
    if (key && event.target.isConnected) chosen.set(key, event.target.open);
  }, true);
  new MutationObserver(() => document.querySelectorAll("details[data-key]:not([data-kept])").forEach((each) => {
    each.dataset.kept = "yes";
    if (chosen.has(each.dataset.key)) each.open = chosen.get(each.dataset.key);
  })).observe(document.documentElement, { childList: true, subtree: true });
})();
