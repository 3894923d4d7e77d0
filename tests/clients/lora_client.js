// LoRA and rsLoRA (forward, backward, merge, unmerge) in plain JavaScript, tested over the JSON-lines protocol.
// Nothing is imported but Node's own readline.  Run: lora-np conformance --command "node lora_client.js"
"use strict";

const readline = require("node:readline");

// ---- numbers as text ------------------------------------------------------------------------------------------

// Read C99 hexadecimal: the digits are an exact integer below 2^53, so one division or two products are exact.
function fromHex(text) {
  const named = { inf: Infinity, "-inf": -Infinity, nan: NaN };
  if (text in named) return named[text];
  const [, sign, whole, part, exponent] = /^(-?)0x([0-9a-f])(?:\.([0-9a-f]+))?p([+-]\d+)$/.exec(text);
  const digits = Number(BigInt("0x" + whole + (part || "")));
  let power = Number(exponent) - 4 * (part || "").length;
  let value = digits;
  for (; power < -1000; power += 52) value *= 2 ** -52; // 2 ** power alone would be 0
  for (; power > 900; power -= 52) value *= 2 ** 52;
  return (sign ? -1 : 1) * value * 2 ** power;
}

// Write C99 hexadecimal from the bits.
function toHex(x) {
  if (Number.isNaN(x)) return "nan";
  if (!Number.isFinite(x)) return x > 0 ? "inf" : "-inf";
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, x);
  const all = bits.getBigUint64(0);
  const exponent = Number((all >> 52n) & 0x7ffn);
  const fraction = (all & 0xfffffffffffffn).toString(16).padStart(13, "0");
  const sign = all >> 63n ? "-" : "";
  if (exponent === 0) return `${sign}0x0.${fraction}p-1022`;
  return `${sign}0x1.${fraction}p${exponent >= 1023 ? "+" : ""}${exponent - 1023}`;
}

// ---- matrices: {rows, columns, data}, row by row; `round` keeps float32 cases in float32 --------------------------

// All axes but the last are rows: what X has of them, Y and gX get back.
function matrix(tensor) {
  const columns = tensor.shape[tensor.shape.length - 1];
  const rows = tensor.shape.slice(0, -1).reduce((a, b) => a * b, 1);
  return { rows, columns, data: tensor.hex.map(fromHex) };
}

function make(rows, columns, entry) {
  const data = [];
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) data.push(entry(i, j));
  return { rows, columns, data };
}

const at = (M, i, j) => M.data[i * M.columns + j];
const transpose = (M) => make(M.columns, M.rows, (i, j) => at(M, j, i));

function product(M, P, round) {
  if (M.columns !== P.rows) throw new RangeError(`cannot multiply ${M.rows}x${M.columns} by ${P.rows}x${P.columns}`);
  return make(M.rows, P.columns, (i, j) => {
    let sum = 0;
    for (let q = 0; q < M.columns; q++) sum = round(sum + round(at(M, i, q) * at(P, q, j)));
    return sum;
  });
}

const scaled = (s, M, round) => make(M.rows, M.columns, (i, j) => round(s * at(M, i, j)));
const plus = (M, P, round) => make(M.rows, M.columns, (i, j) => round(at(M, i, j) + at(P, i, j)));

// ---- LoRA -------------------------------------------------------------------------------------------------------

function scale(method, config, round) {
  const alpha = fromHex(config.alpha.hex);
  return round(method === "rslora" ? alpha / Math.sqrt(config.rank) : alpha / config.rank);
}

const operations = {
  forward({ X, W0, B, A, bias }, s, round) {
    const Z = product(X, transpose(A), round);
    const branch = scaled(s, product(Z, transpose(B), round), round);
    const Y = plus(product(X, transpose(W0), round), branch, round);
    return { Y: bias ? make(Y.rows, Y.columns, (i, j) => round(at(Y, i, j) + bias.data[j])) : Y };
  },
  backward({ X, W0, B, A, gY }, s, round) {
    const gZ = scaled(s, product(gY, B, round), round);
    const Z = product(X, transpose(A), round);
    return {
      gX: plus(product(gY, W0, round), product(gZ, A, round), round),
      gB: scaled(s, product(transpose(gY), Z, round), round),
      gA: product(transpose(gZ), X, round),
    };
  },
  merge({ W0, B, A }, s, round) {
    return { W: plus(W0, scaled(s, product(B, A, round), round), round) };
  },
  unmerge({ W, B, A }, s, round) {
    return { W0: plus(W, scaled(-s, product(B, A, round), round), round) };
  },
};

// ---- the protocol -----------------------------------------------------------------------------------------------

const introduction = {
  protocol: 1,
  name: "lora_client.js",
  version: "1",
  capabilities: Object.keys(operations).flatMap((name) => [`lora.${name}`, `rslora.${name}`]),
  dtypes: ["float64", "float32"],
  options: { errors: "none" },
};

function answer(line) {
  const asked = JSON.parse(line);
  if (asked.hello) return introduction;
  try {
    const round = asked.dtype === "float32" ? Math.fround : (x) => x;
    const tensors = Object.fromEntries(Object.entries(asked.in).map(([name, t]) => [name, matrix(t)]));
    const found = operations[asked.operation](tensors, scale(asked.method, asked.config, round), round);
    const leading = (name, M) => (["Y", "gX"].includes(name) ? asked.in.X.shape.slice(0, -1) : [M.rows]);
    const written = (name, M) => ({ shape: [...leading(name, M), M.columns], hex: M.data.map(toHex) });
    const out = Object.fromEntries(Object.entries(found).map(([name, M]) => [name, written(name, M)]));
    return { id: asked.id, out };
  } catch (error) {
    return { id: asked.id, error: { class: error.name, message: error.message } };
  }
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  process.stdout.write(JSON.stringify(answer(line)) + "\n");
});
