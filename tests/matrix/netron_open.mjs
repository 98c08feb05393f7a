// node netron_open.mjs FOLDER_OF_NETRON FILE...: what Netron's own reader tells of each file, a line of JSON each.
import { readFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, ...files] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(join(resolve(folder), name)));
const { ModelFactoryService } = await load('view.js');
const { BinaryStream } = await load('base.js');

const host = {
    require: (id) => load(`${id}.js`),
    exception: (error) => { throw error; },
    event: () => {},
    environment: () => null,
};

const context = (path) => ({
    identifier: basename(path),
    stream: new BinaryStream(readFileSync(path)),
    entries: new Map(),
    fetch: async (file, encoding) => {
        const data = readFileSync(join(dirname(path), file));
        return encoding ? data.toString(encoding) : new BinaryStream(data);
    },
    asset: async (file) => readFileSync(join(folder, file), 'utf-8'),
    require: (id) => load(`${id}.js`),
    error: (error) => { throw error; },
});

const tell = (graph, found) => {
    for (const node of graph.nodes) {
        const type = node.type;
        if (type && Array.isArray(type.nodes)) {
            tell(type, found);
        }
        found.types.push(type.name);
        for (const { value } of node.inputs) {
            found.weights.push(...value.filter((v) => v.initializer).map((v) => ({
                name: v.name, type: v.initializer.type.dataType, shape: v.initializer.type.shape.dimensions.map(Number),
            })));
        }
    }
    return found;
};

for (const file of files) {
    try {
        const model = await new ModelFactoryService(host).open(context(file));
        const graphs = model.modules || model.graphs;
        const found = tell(graphs[0], { types: [], weights: [] });
        console.log(JSON.stringify({ file, format: model.format, inputs: graphs[0].inputs.length, outputs: graphs[0].outputs.length, ...found }));
    } catch (error) {
        console.log(JSON.stringify({ file, error: `${error.name}: ${error.message}` }));
    }
}
