// The API documentation: adds the navigation of the dashboard and the theme. The page is complete without it.

import { h } from "./dom.js";
import { documentationItem, navigationLink, screens } from "./navigation.js";
import { themeButton } from "./theme_button.js";

const list = document.getElementById("screens");
const theme = document.getElementById("theme");

if ("operations" in list.dataset) list.replaceChildren(...screens.map(([name, label]) => h("li", {}, navigationLink(name, `ui#/${name}`, label))), documentationItem(true));
list.querySelector("[aria-current]").scrollIntoView({ block: "nearest", inline: "nearest" });
theme.hidden = false;
themeButton(theme);
