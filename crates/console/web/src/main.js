import { initAll } from "nhsuk-frontend";
import * as door from "./door.js";
import * as forms from "./forms.js";
import * as live from "./live.js";
import * as search from "./search.js";

initAll();
door.start();
forms.start();
search.start();
live.start();
