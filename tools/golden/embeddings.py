#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/golden/embeddings: tiny random embedding models and the vectors sentence-transformers makes with them.

Usage: embeddings.py OUT_FOLDER      (needs tests/oracle/requirements.txt, and gguf, llama.cpp's Python package)

gemma/ is EmbeddingGemma in small: attention to both sides with a window shorter than the texts, mean, two Dense layers
without bias, Normalize, prompts; gemma/model.gguf is the same as llama.cpp's converter writes it, without a tokenizer.
qwen3/ is Qwen3-Embedding in small: saved without its head, last token, a token behind each text that does not end a
generation; and a Dense layer with bias and tanh. Each holds texts.txt (a text a line), expected.bin (f32, a vector a
text), and for gemma query.bin (the same with the prompt of that name), ids.txt and ids.bin (one text as token ids).
ranks/ is a Qwen3 with two labels for a head; pairs.bin has the labels' probabilities for the first of PAIRS with each
of the others (one behind the other, each with its token behind it), template.bin those of TEMPLATE with the two in it.
"""
import sys
from pathlib import Path

import gguf
import sentence_transformers
import tokenizers
import torch
import transformers
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

TEXTS = ["", "a", "Hello there", "The quick brown fox jumps over the lazy dog.", "  two  spaces ",
         "Über den Wölken: 你好 🙂", "again " * 12]
VOCAB = 300
PAIRS = ["Hello there", "again again", "", "The quick brown fox", "Über <|im_end|> {query}", "two  spaces"]
TEMPLATE = "<bos>Query: {query}\nDocument: {document}<|im_end|>\n"


def configs():
    common = dict(vocab_size=VOCAB, hidden_size=16, intermediate_size=24, num_attention_heads=2, num_key_value_heads=1,
                  max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0, initializer_range=0.2)
    rope = dict(full_attention=dict(rope_type="default", rope_theta=1000000.0),
                sliding_attention=dict(rope_type="default", rope_theta=10000.0))
    return dict(gemma=transformers.Gemma3TextConfig(**common, head_dim=16, num_hidden_layers=7, rope_parameters=rope,
                                                    sliding_window=8, query_pre_attn_scalar=16,
                                                    use_bidirectional_attention=True),
                qwen3=transformers.Qwen3Config(**common, head_dim=8, num_hidden_layers=2, tie_word_embeddings=False,
                                               rope_parameters=dict(rope_type="default", rope_theta=1000000.0)))


def make_tokenizer(single):
    t = tokenizers.Tokenizer(tokenizers.models.BPE())
    t.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = tokenizers.decoders.ByteLevel()
    t.train_from_iterator(TEXTS, tokenizers.trainers.BpeTrainer(
        vocab_size=VOCAB, show_progress=False, special_tokens=["<pad>", "<bos>", "<|im_end|>", "<|endoftext|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()))
    t.post_processor = tokenizers.processors.TemplateProcessing(
        single=single, pair="$A $B", special_tokens=[("<bos>", 1), ("<|endoftext|>", 3)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=t, eos_token="<|im_end|>", bos_token="<bos>",
                                                pad_token="<pad>", padding_side="right")


LAYER = {"input_layernorm": "attn_norm", "post_attention_layernorm": "post_attention_norm",
         "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm",
         "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def gguf_name(name):
    module = name.removesuffix(".weight")
    if module == "embed_tokens":
        return "token_embd.weight"
    if module == "norm":
        return "output_norm.weight"
    _, layer, rest = module.split(".", 2)
    return f"blk.{layer}.{LAYER[rest]}.weight"


def write_gguf(path, model, window, dense):
    c, w = model.config, gguf.GGUFWriter(path, "gemma-embedding")
    w.add_block_count(c.num_hidden_layers)
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_key_length(c.head_dim)
    w.add_value_length(c.head_dim)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    w.add_rope_freq_base(1000000.0)
    w.add_sliding_window(window)
    w.add_pooling_type(gguf.PoolingType.MEAN)
    for name, tensor in model.state_dict().items():
        new = gguf_name(name)
        w.add_tensor(new, (tensor + 1 if "norm" in new else tensor).contiguous().numpy())
    for i, layer in enumerate(dense):
        w.add_tensor(f"dense_{i + 2}.weight", layer.linear.weight.contiguous().numpy())
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write(folder, name, config, out):
    torch.manual_seed(5)
    config._attn_implementation = "eager"
    plain = folder / "plain"
    window = config.to_dict().get("sliding_window")
    made = transformers.AutoModel.from_config(config, dtype=torch.float32)
    generator = torch.Generator().manual_seed(5)
    for p in made.parameters():
        if p.ndim == 1:
            p.add_(torch.empty(p.shape).uniform_(-0.3, 0.3, generator=generator))
    made.save_pretrained(plain)
    make_tokenizer("<bos> $A <|endoftext|>" if name == "gemma" else "$A <|endoftext|>").save_pretrained(plain)
    transformer = Transformer(str(plain), model_kwargs=dict(attn_implementation="eager"))
    if name == "gemma":
        dense = [Dense(16, 24, bias=False, activation_function=torch.nn.Identity()),
                 Dense(24, 12, bias=False, activation_function=torch.nn.Identity())]
        steps = [transformer, Pooling(16, pooling_mode="mean"), *dense, Normalize()]
        prompts = dict(query="task: search result | query: ", document="title: none | text: ")
    else:
        steps = [transformer, Pooling(16, pooling_mode="lasttoken"), Dense(16, 10)]
        prompts = {}
    whole = sentence_transformers.SentenceTransformer(modules=steps, device="cpu", prompts=prompts)
    whole.save_pretrained(str(out), create_model_card=False)
    encode = lambda texts, **more: whole.encode(texts, normalize_embeddings=True, **more).tobytes()
    (out / "texts.txt").write_text("".join(t + "\n" for t in TEXTS))
    (out / "expected.bin").write_bytes(encode(TEXTS))
    if name != "gemma":
        return
    (out / "query.bin").write_bytes(encode(TEXTS, prompt_name="query"))
    ids = transformer.tokenizer(TEXTS[3])["input_ids"]
    (out / "ids.txt").write_text(" ".join(map(str, ids)) + "\n")
    (out / "ids.bin").write_bytes(encode([TEXTS[3]]))
    write_gguf(out / "model.gguf", transformer.model, window, dense)


def plain_ids(tokenizer, text):
    """As if no special token had ever been heard of."""
    return [t.id for word, _ in tokenizer._tokenizer.pre_tokenizer.pre_tokenize_str(text)
            for t in tokenizer._tokenizer.model.tokenize(word)]


def template_ids(tokenizer, query, document):
    begin, end = TEMPLATE.split("{query}")[0].removeprefix("<bos>"), TEMPLATE.split("<|im_end|>")[1]
    middle = TEMPLATE.split("{query}")[1].split("{document}")[0]
    return [1, *plain_ids(tokenizer, begin + query + middle + document), 2, *plain_ids(tokenizer, end)]


def write_ranking(out):
    torch.manual_seed(6)
    config = configs()["qwen3"]
    config.num_labels, config.pad_token_id = 2, None
    model = transformers.Qwen3ForSequenceClassification(config).eval()
    with torch.no_grad():
        model.score.weight.mul_(2)
    model.save_pretrained(out)
    tokenizer = make_tokenizer("$A <|endoftext|>")
    tokenizer.save_pretrained(out)
    scores = lambda ids: model(torch.tensor([ids])).logits[0].softmax(0)
    pair = lambda q, d: [*plain_ids(tokenizer, q), 3, *plain_ids(tokenizer, d), 3]
    for name, ids_of in (("pairs", pair), ("template", lambda q, d: template_ids(tokenizer, q, d))):
        rows = [scores(ids_of(PAIRS[0], document)) for document in PAIRS[1:]]
        (out / f"{name}.bin").write_bytes(torch.stack(rows).detach().numpy().tobytes())


def main():
    import tempfile
    out = Path(sys.argv[1])
    with torch.no_grad(), tempfile.TemporaryDirectory() as place:
        for name, config in configs().items():
            (out / name).mkdir(parents=True, exist_ok=True)
            write(Path(place) / name, name, config, out / name)
        (out / "ranks").mkdir(exist_ok=True)
        write_ranking(out / "ranks")


if __name__ == "__main__":
    main()
