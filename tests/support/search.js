// node search.js SITE QUERY...: what the search of the built site finds, by its own worker and index, as JSON.
const fs = require("fs"), path = require("path"), vm = require("vm");
const [site, ...queries] = process.argv.slice(2);
const folder = path.join(site, "assets/javascripts/workers");
const code = fs.readFileSync(path.join(folder, fs.readdirSync(folder).find(n => /^search\..*\.js$/.test(n))), "utf8");
const index = JSON.parse(fs.readFileSync(path.join(site, "search/search_index.json"), "utf8"));
let answer = null, listener = null;
const worker = vm.createContext({ console, URL, postMessage: m => answer(m), addEventListener: (kind, f) => { listener = f; } });
worker.self = worker;
worker.Worker = class { postMessage(data) { listener({ data }); } };  // as the page has it
vm.runInContext(code, worker);
vm.runInContext(fs.readFileSync(path.join(site, "assets/search.js"), "utf8"), worker);
const ask = data => new Promise(done => { answer = done; new worker.Worker().postMessage(data); });
(async () => {
  await ask({ type: 0, data: { ...index, options: { suggest: false } } });
  const found = {};
  for (const q of queries) found[q] = (await ask({ type: 2, data: q })).data.items.map(pages => pages.map(p => p.location));
  console.log(JSON.stringify(found));
})().catch(e => { console.error(String(e.stack).slice(-2000)); process.exit(1); });
