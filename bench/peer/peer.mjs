// peer.mjs MODEL THREADS - the peer's side of bench/peer.py: node-llama-cpp's low-level calls, one cell for each line
// of JSON on standard input, one line of JSON back. Prompts are noise, new noise for each run.
import {createInterface} from "node:readline";
import {readFileSync} from "node:fs";
import {getLlama} from "node-llama-cpp";

const [modelPath, threadsText] = process.argv.slice(2);
const threads = Number(threadsText);
const seconds = () => performance.now() / 1000;
const say = (o) => process.stdout.write(JSON.stringify(o) + "\n");

const llama = await getLlama({gpu: false, build: "never", skipDownload: true, maxThreads: threads, logLevel: "error"});
let t = seconds();
const model = await llama.loadModel({modelPath, useMmap: false});
const version = JSON.parse(readFileSync(new URL("node_modules/node-llama-cpp/package.json", import.meta.url))).version;
say({ready: true, version, release: llama.llamaCppRelease, build: llama.buildType, system: llama.systemInfo.trim(),
    load_seconds: seconds() - t});

// ---- contexts: one sequence, four, sixteen; with and without flash attention ----
const contexts = new Map();
async function sequences(kind, fa) {
    const key = kind + fa;
    const shape = {one: [1, 2048 + 512], clients: [4, 768], batch: [16, 512]}[kind];

    if (!contexts.has(key)) {
        for (const [other, c] of contexts) // memory: one at a time
            if (!other.startsWith(kind)) {
                await c.ctx.dispose();
                contexts.delete(other);
            }
        const ctx = await model.createContext({sequences: shape[0], contextSize: shape[1], threads: {ideal: threads, min: threads},
            flashAttention: fa === "auto" ? "auto" : fa === "on"});
        const seqs = [];
        for (let i = 0; i < shape[0]; i++)
            seqs.push(ctx.getSequence());
        contexts.set(key, {ctx, seqs});
    }
    return contexts.get(key).seqs;
}

let noise = 1;
function tokens(n) {
    const out = [];
    for (let i = 0; i < n; i++) {
        noise = (Math.imul(noise, 1664525) + 1013904223) >>> 0;
        out.push(300 + Math.floor(noise / 4294967296 * 100000));
    }
    return out;
}

async function to(seq, depth) {
    if (seq.nextTokenIndex > depth)
        await seq.eraseContextTokenRanges([{start: depth, end: seq.nextTokenIndex}]);
    if (seq.nextTokenIndex < depth)
        await seq.evaluateWithoutGeneratingNewTokens(tokens(depth - seq.nextTokenIndex));
}

// Feeds ids, then takes n tokens; seconds of the first and of the last.
async function answer(seq, ids, n) {
    const at = [];
    for await (const _ of seq.evaluate(ids, {temperature: 0, yieldEogToken: true})) {
        at.push(seconds());
        if (at.length === n)
            break;
    }
    return {first: at[0], last: at[at.length - 1], n: at.length};
}

const cells = {
    async prefill({tokens: n}, seqs) {
        await seqs[0].clearHistory();
        const ids = tokens(n), from = seconds();
        await seqs[0].evaluateWithoutGeneratingNewTokens(ids);
        return {per_second: n / (seconds() - from)};
    },
    async decode({depth, n}, seqs) {
        await to(seqs[0], Math.max(0, depth - 1));
        const a = await answer(seqs[0], tokens(1), n + 1);
        return {per_second: (a.n - 1) / (a.last - a.first)};
    },
    async batch({prompt, n}, seqs) {
        for (const s of seqs)
            await to(s, prompt - 1);
        const all = await Promise.all(seqs.map((s) => answer(s, tokens(1), n + 1)));
        const from = Math.max(...all.map((a) => a.first)), end = Math.max(...all.map((a) => a.last));
        return {per_second: seqs.length * n / (end - from)};
    },
    async clients({prompt, n}, seqs) {
        for (const s of seqs)
            await s.clearHistory();
        const ids = seqs.map(() => tokens(prompt)), from = seconds();
        const all = await Promise.all(seqs.map((s, i) => answer(s, ids[i], n)));
        const ttft = all.map((a) => a.first - from);
        return {seconds: ttft.reduce((x, y) => x + y) / ttft.length, slowest: Math.max(...ttft),
            all: Math.max(...all.map((a) => a.last)) - from};
    },
    async verdict({prefix, n, cold}, seqs) {
        if (cold)
            await seqs[0].clearHistory();
        else
            await to(seqs[0], prefix);
        const ids = tokens(cold ? prefix + n : n), from = seconds();
        await answer(seqs[0], ids, 1);
        return {seconds: seconds() - from};
    }
};
const kinds = {prefill: "one", decode: "one", verdict: "one", batch: "batch", clients: "clients"};

for await (const line of createInterface({input: process.stdin})) {
    const c = JSON.parse(line);
    try {
        say(await cells[c.cell](c, await sequences(kinds[c.cell], c.fa)));
    } catch (e) {
        say({error: String(e)});
    }
}
process.exit(0);
