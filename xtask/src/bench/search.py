"""What `cargo xtask bench search` compares with: Chroma's persistent client, in this process, on the same vectors.

    search.py glosses WORDNET TEXTS              the definitions of WordNet, one passage a line, in random order
    search.py embed MODEL TEXTS REAL.f32         embeds lines with the local model, as the program does
    search.py generate FOLDER COUNT              synthetic vectors: vectors.f32, queries.f32
    search.py enlarge REAL.f32 FOLDER COUNT      real vectors and mixtures of near ones
    search.py exact FOLDER COUNT                 prints the true neighbours of 200 queries
    search.py build STORE FOLDER COUNT           ingests what is not in the store yet
    search.py serve STORE FOLDER COUNT           answers lines of commands on standard input, one JSON line each

Vectors are raw little-endian 32-bit floats, 384 of them each, of unit length.
"""

import json
import os
import sys
import time

import numpy as np

DIMENSIONS = 384
QUERIES = 1000


def read(path, count):
    return np.fromfile(path, dtype="<f4", count=count * DIMENSIONS).reshape(-1, DIMENSIONS)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("<f4")


def generate(folder, count):
    """Two thousand clusters of equal size, each as wide as the distance between neighbours in real text."""
    random = np.random.default_rng(7)
    centres = unit(random.standard_normal((2000, DIMENSIONS)))
    os.makedirs(folder, exist_ok=True)
    for name, rows in (("queries.f32", QUERIES), ("vectors.f32", count)):
        with open(os.path.join(folder, name), "wb") as out:
            while rows > 0:
                batch = min(rows, 50_000)
                noise = random.standard_normal((batch, DIMENSIONS)) / DIMENSIONS**0.5
                out.write(unit(centres[random.integers(0, 2000, batch)] + 0.8 * noise).tobytes())
                rows -= batch


def glosses(folder, texts):
    """Debian's wordnet-base holds 117,659 definitions, most with a sentence in which the word is used."""
    passages = []
    for part in ("noun", "verb", "adj", "adv"):
        with open(os.path.join(folder, "data." + part), encoding="utf-8") as lines:
            for line in lines:
                if not line.startswith("  "):
                    fields, gloss = line.split("|", 1)
                    word = fields.split()[4].split("(")[0].replace("_", " ")
                    passages.append(f"{word}: {gloss.strip()}")
    order = np.random.default_rng(3).permutation(len(passages))
    with open(texts, "w", encoding="utf-8") as out:
        out.writelines(passages[place] + "\n" for place in order)


def embed(model, texts, real):
    """One text a run, as in the program: the model's eight-bit scales depend on all that a run is given."""
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(os.path.join(model, "model.onnx"), options)
    names = {given.name for given in session.get_inputs()}
    tokenizer = Tokenizer.from_file(os.path.join(model, "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.no_padding()
    with open(texts, encoding="utf-8") as lines, open(real + ".part", "wb") as out:
        for line in lines:
            ids = np.array([tokenizer.encode(line.strip()).ids], dtype=np.int64)
            given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
            tokens = session.run(None, {name: value for name, value in given.items() if name in names})[0]
            out.write(unit(tokens.reshape(1, -1, DIMENSIONS).mean(axis=1)).tobytes())
    os.rename(real + ".part", real)


def exact(folder, count):
    """The true ten of the first 200 queries, in everything and in the source that a filter names."""
    queries = read(os.path.join(folder, "queries.f32"), 200)
    scores, places = np.full((200, 0), 0, dtype="<f4"), np.full((200, 0), 0)
    filtered = [None] * 200
    vectors = np.memmap(os.path.join(folder, "vectors.f32"), dtype="<f4", mode="r").reshape(-1, DIMENSIONS)
    for start in range(0, count, 50_000):
        products = queries @ np.asarray(vectors[start : min(start + 50_000, count)]).T
        scores = np.hstack([scores, products])
        places = np.hstack([places, np.broadcast_to(np.arange(start, start + products.shape[1]), products.shape)])
        keep = np.argsort(-scores, axis=1)[:, :10]
        scores, places = np.take_along_axis(scores, keep, 1), np.take_along_axis(places, keep, 1)
    for place in range(200):
        first, last = (-(-count * (place % 100 + end) // 100) for end in (0, 1))
        products = np.asarray(vectors[first:last]) @ queries[place]
        filtered[place] = (first + np.argsort(-products)[:10]).tolist()
    print(json.dumps({"dense": places.tolist(), "filtered": filtered}))


def enlarge(real, folder, count):
    """Real vectors first, a thousand of them held out as queries; then points between one and a near one of 4,000."""
    random = np.random.default_rng(11)
    rows = np.fromfile(real, dtype="<f4").reshape(-1, DIMENSIONS)
    rows = rows[random.permutation(len(rows))]
    os.makedirs(folder, exist_ok=True)
    rows[:QUERIES].tofile(os.path.join(folder, "queries.f32"))
    rows = rows[QUERIES:]
    with open(os.path.join(folder, "vectors.f32"), "wb") as out:
        out.write(rows[:count].tobytes())
        missing = count - len(rows)
        while missing > 0:
            among = rows[random.choice(len(rows), 4000, replace=False)]
            chosen = rows[random.choice(len(rows), min(missing, 8000), replace=False)]
            products = chosen @ among.T
            # Not the vector itself.
            products[products > 0.9999] = -1.0
            near = among[products.argmax(axis=1)]
            share = random.uniform(0.2, 0.5, (len(chosen), 1))
            noise = random.standard_normal(chosen.shape) / DIMENSIONS**0.5
            out.write(unit(chosen * (1 - share) + near * share + 0.1 * noise).tobytes())
            missing -= len(chosen)


def collection(store):
    import chromadb
    from chromadb.config import Settings

    client = chromadb.PersistentClient(path=store, settings=Settings(anonymized_telemetry=False))
    return client, client.get_or_create_collection(
        "bench", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
    )


def source(number, count):
    """A hundred sources of one percent each, one behind the other."""
    return f"source-{number * 100 // count}"


def build(store, folder, count):
    client, chunks = collection(store)
    vectors = np.memmap(os.path.join(folder, "vectors.f32"), dtype="<f4", mode="r").reshape(-1, DIMENSIONS)
    batch = client.get_max_batch_size()
    at = chunks.count()
    fresh = at == 0
    wall, used = time.monotonic(), time.process_time()
    while at < count:
        end = min(at + batch, count)
        chunks.add(
            ids=[f"chunk-{number}" for number in range(at, end)],
            embeddings=np.asarray(vectors[at:end]),
            metadatas=[{"source": source(number, count)} for number in range(at, end)],
        )
        at = end
    took = {"count": count, "whole": fresh, "wall_s": time.monotonic() - wall, "cpu_s": time.process_time() - used}
    record = os.path.join(store, "build.json")
    if fresh or not os.path.exists(record):
        with open(record, "w") as out:
            json.dump(took, out)


def serve(store, folder, count):
    _, chunks = collection(store)
    queries = read(os.path.join(folder, "queries.f32"), QUERIES)
    for line in sys.stdin:
        command, first, number = line.split()
        filtered = command == "filtered"
        found, walls = [], []
        used = time.process_time()
        for place in range(int(first), int(first) + int(number)):
            where = {"source": f"source-{place % 100}"} if filtered else None
            started = time.perf_counter()
            answer = chunks.query(query_embeddings=queries[place : place + 1], n_results=10, where=where, include=[])
            walls.append((time.perf_counter() - started) * 1000)
            found.append([int(name[6:]) for name in answer["ids"][0]])
        cpu = (time.process_time() - used) * 1000 / int(number)
        print(json.dumps({"wall_ms": walls, "cpu_ms": cpu, "found": found}), flush=True)


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    if verb == "generate":
        generate(rest[0], int(rest[1]))
    elif verb == "enlarge":
        enlarge(rest[0], rest[1], int(rest[2]))
    elif verb == "build":
        build(rest[0], rest[1], int(rest[2]))
    elif verb == "serve":
        serve(rest[0], rest[1], int(rest[2]))
    elif verb == "glosses":
        glosses(*rest)
    elif verb == "embed":
        embed(*rest)
    elif verb == "exact":
        exact(rest[0], int(rest[1]))
    else:
        sys.exit(f"unknown command {verb}")
