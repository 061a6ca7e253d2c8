import { initAll } from "nhsuk-frontend";
import * as approve from "./approve.js";
import * as countdown from "./countdown.js";
import * as door from "./door.js";
import * as forms from "./forms.js";
import * as invite from "./invite.js";
import * as live from "./live.js";
import * as search from "./search.js";
import * as ticks from "./ticks.js";

initAll();
door.start();
forms.start();
invite.start();
approve.start();
countdown.start();
search.start();
ticks.start();
live.start();
