"use strict";
// Says that scripts run. Folded parts open when a link leads to them and when the page is printed; paper is always light.
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  const open = () => {
    const at = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (at && at.tagName === "DETAILS") at.open = true;
  };
  addEventListener("hashchange", open);
  open();
  let folded = [];
  addEventListener("beforeprint", () => {
    root.classList.add("printing");
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => {
    root.classList.remove("printing");
    folded.forEach((one) => { one.open = false; });
  });
})();
