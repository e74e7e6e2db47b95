"use strict";
// Says that scripts run. Folded parts open when a link leads to them; short ones open on paper too, which is always light.
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  const open = () => {
    const at = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (at && at.tagName === "DETAILS") at.open = true;
  };
  addEventListener("hashchange", open);
  open();
  const unfold = document.getElementById("unfold");
  let all = false, opened = [];
  if (unfold) unfold.addEventListener("click", () => {
    all = !all;
    if (all) opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((one) => { one.open = all; });
    unfold.textContent = all ? "Fold again" : "Unfold all";
  });
  let folded = [];
  addEventListener("beforeprint", () => {
    root.classList.add("printing");
    folded = [...document.querySelectorAll("details:not([open], .long)")];
    folded.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => {
    root.classList.remove("printing");
    folded.forEach((one) => { one.open = false; });
  });
})();
