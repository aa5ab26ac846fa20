"""The tables that scripts/reproduce makes: the rows of each paper in its order, its own numbers, and what it claims.

A row is the name of a config in configs/mini/PAPER and in the folders of Paper.sizes. A claim is a sentence and a function of the
final losses by row, one seed at a time, that is below zero where the claim holds.
"""
from dataclasses import dataclass, field
from typing import Callable


@dataclass
class Row:
    name: str
    label: str
    paper: str = ""  # the paper's own number, in the words of Paper.paper_column


@dataclass
class Claim:
    text: str
    below_zero: Callable[[dict], float]


@dataclass
class Size:
    folder: str  # in configs; its last name is what --size takes
    fine_tuning: bool = False  # a pretrained model, --init, is what its runs begin with

    @property
    def name(self) -> str:
        return self.folder.split("/")[-1]


@dataclass
class Paper:
    title: str
    rows: list[Row]
    baseline: str  # the row whose loss is taken from the others', seed by seed
    paper_column: str = ""
    claims: list[Claim] = field(default_factory=list)
    init: str = ""  # PAPER/ROW whose final checkpoint, of the same seed, every run of the miniature starts from
    sizes: list[Size] = field(default_factory=list)

    def row(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)


def better(text: str, a: str, b: str) -> Claim:
    """a's loss is below b's."""
    return Claim(text, lambda loss: loss[a] - loss[b])


def nearer(text: str, a: str, base: str, than: str) -> Claim:
    """a is less than half as far above base as `than` is."""
    return Claim(text, lambda loss: (loss[a] - loss[base]) - 0.5 * (loss[than] - loss[base]))


def within(text: str, a: str, base: str, nats: float) -> Claim:
    """a is less than `nats` above base."""
    return Claim(text, lambda loss: loss[a] - loss[base] - nats)


eco = Paper(
    title="ECO: quantized training without full-precision master weights (arXiv 2601.22101), table 1",
    paper_column="paper, 30M: loss",
    baseline="bf16_master",
    sizes=[Size(f"eco/{size}") for size in ("30m", "50m", "100m", "200m", "430m", "800m")],
    rows=[
        Row("bf16_master", "BF16 with master", "3.3238"),
        Row("fp8_master_rtn", "FP8 with master, RTN", "3.3248"),
        Row("fp8_master_sr", "FP8 with master, SR", "3.3309"),
        Row("fp8_rtn", "FP8 without master, RTN", "diverged"),
        Row("fp8_sr", "FP8 without master, SR", "3.4008"),
        Row("eco_rtn", "ECO, RTN", "3.3640"),
        Row("eco_sr", "ECO, SR", "3.3317"),
    ],
    claims=[
        nearer("ECO+SR is near BF16 with master: its gap is less than half of naive SR's", "eco_sr", "bf16_master", "fp8_sr"),
        within("ECO+SR is at most 0.01 above FP8 with master and SR", "eco_sr", "fp8_master_sr", 0.01),
        better("ECO+SR is better than naive SR", "eco_sr", "fp8_sr"),
        better("ECO+SR is better than ECO+RTN", "eco_sr", "eco_rtn"),
        better("ECO+RTN is better than naive RTN", "eco_rtn", "fp8_rtn"),
        better("ECO+RTN is better than naive SR", "eco_rtn", "fp8_sr"),
        better("naive RTN is the worst: worse than naive SR", "fp8_sr", "fp8_rtn"),
    ],
)

eco_gemma = Paper(
    title="ECO (arXiv 2601.22101), figure 3: Gemma 3 1B, whose values are a picture alone",
    baseline="bf16_master",
    sizes=[Size("eco/gemma3_1b")],
    rows=[Row(row.name, row.label) for row in eco.rows],
    claims=[
        better("ECO+SR is the best without a master: better than naive SR", "eco_sr", "fp8_sr"),
        better("ECO+SR is better than ECO+RTN", "eco_sr", "eco_rtn"),
        better("ECO+RTN is better than naive RTN", "eco_rtn", "fp8_rtn"),
        nearer("ECO+SR is near BF16 with master: its gap is less than half of naive SR's", "eco_sr", "bf16_master", "fp8_sr"),
    ],
)

eco_int4 = Paper(
    title="ECO (arXiv 2601.22101), table 2: fine-tuning with INT4 weights scaled by tensor",
    paper_column="paper, DeepSeek-MoE-16B: MMLU",
    baseline="int4_master_rtn",
    init="eco/bf16_master",
    sizes=[Size("eco/int4", fine_tuning=True)],
    rows=[
        Row("bf16_master", "BF16 with master", ""),
        Row("int4_master_rtn", "INT4 with master, RTN", "37.87"),
        Row("int4_master_sr", "INT4 with master, SR", "38.57"),
        Row("int4_rtn", "INT4 without master, RTN", "diverged"),
        Row("int4_sr", "INT4 without master, SR", "diverged"),
        Row("eco_int4_rtn", "ECO, RTN", "38.63"),
        Row("eco_int4_sr", "ECO, SR", "38.41"),
    ],
    claims=[
        better("ECO+SR is better than naive SR", "eco_int4_sr", "int4_sr"),
        better("ECO+RTN is better than naive RTN", "eco_int4_rtn", "int4_rtn"),
        nearer("ECO+SR is near INT4 with master and SR: its gap is less than half of naive SR's", "eco_int4_sr",
               "int4_master_sr", "int4_sr"),
    ],
)

dqt = Paper(
    title="DQT: direct quantized training with stochastic rounding (arXiv 2412.04787)",
    paper_column="paper, 1B: WikiText-2 perplexity",
    baseline="llama",
    sizes=[Size(f"dqt/{size}") for size in ("130m", "320m", "1b")],
    rows=[
        Row("llama", "not quantized, bf16 products", "19.99 (FP32)"),
        Row("bitnet", "BitNet b1.58, DQT's recipe", "28.20"),
        Row("bitnet_two_stage", "BitNet b1.58, Microsoft's two stages"),
        Row("dqt_8", "DQT 8 bit", "25.43"),
        Row("dqt_4", "DQT 4 bit"),
        Row("dqt_3", "DQT 3 bit"),
        Row("dqt_ternary", "DQT ternary"),
        Row("dqt_ternary_absmax", "DQT ternary, absmax and nearest"),
        *[Row(f"{row}_in_{environment}", f"{label} in {environment.upper()}")
          for row, label in (("llama", "not quantized"), ("bitnet", "BitNet"), ("dqt_8", "DQT 8 bit"))
          for environment in ("fp32", "bf16", "fp8")],
    ],
    claims=[
        better("the unquantized model is better than DQT 8 bit", "llama", "dqt_8"),
        better("DQT 8 bit is at least as good as BitNet b1.58", "dqt_8", "bitnet"),
        better("DQT 8 bit is at least as good as BitNet b1.58 with its own two-stage recipe", "dqt_8", "bitnet_two_stage"),
        better("more bits are better: 8 than 4", "dqt_8", "dqt_4"),
        better("more bits are better: 4 than 3", "dqt_4", "dqt_3"),
        better("more bits are better: 3 than ternary", "dqt_3", "dqt_ternary"),
        better("stochastic rounding is better than absmax and nearest", "dqt_ternary", "dqt_ternary_absmax"),
        Claim("BF16 everywhere costs BitNet more than DQT 8 bit",
              lambda loss: (loss["dqt_8_in_bf16"] - loss["dqt_8_in_fp32"]) - (loss["bitnet_in_bf16"] - loss["bitnet_in_fp32"])),
        Claim("FP8 everywhere costs BitNet more than DQT 8 bit",
              lambda loss: (loss["dqt_8_in_fp8"] - loss["dqt_8_in_fp32"]) - (loss["bitnet_in_fp8"] - loss["bitnet_in_fp32"])),
    ],
)

solo = Paper(
    title="SOLO: low-bit optimizer states by their EMA dynamics (arXiv 2505.00347)",
    paper_column="paper, Transformer-Base on WMT: BLEU",
    baseline="states_32",
    sizes=[Size("solo/130m"), Size("solo/7b_finetune", fine_tuning=True)],
    rows=[
        Row("states_32", "32/32, beta1 .9", "27.45"),
        Row("states_16", "16/16", "27.37"),
        Row("states_8", "8/8 dynamic", "27.50"),
        Row("states_4", "4/4 DE with zero", "26.93"),
        Row("states_2", "2/2 DE with zero", "crash"),
        Row("solo_4_2", "SOLO 4/2, beta1 .3", "27.31"),
        Row("solo_4_2_m_sr", "SOLO 4/2, m SR too, beta1 .3"),
        Row("solo_4_2_v_nearest", "SOLO 4/2, v nearest too, beta1 .3"),
        Row("solo_2", "SOLO 2/2, beta1 .1", "27.12"),
        Row("states_32_beta_0.3", "32/32, beta1 .3"),
        Row("states_32_beta_0.1", "32/32, beta1 .1"),
        Row("solo_4_2_beta_0.9", "SOLO 4/2 but beta1 .9"),
        Row("solo_2_beta_0.9", "SOLO 2/2 but beta1 .9"),
        Row("linear_4_2", "4/2 linear instead of logarithmic, beta1 .3"),
    ],
    claims=[
        nearer("SOLO 4/2 is near 32 bit: its gap is less than half of plain 2 bit's", "solo_4_2", "states_32", "states_2"),
        within("SOLO 4/2 is at most 0.02 above 32 bit", "solo_4_2", "states_32", 0.02),
        within("SOLO 2/2 is at most 0.05 above 32 bit", "solo_2", "states_32", 0.05),
        within("SOLO 4/2 is at most 0.02 above 32 bit of the same beta1", "solo_4_2", "states_32_beta_0.3", 0.02),
        within("SOLO 2/2 is at most 0.05 above 32 bit of the same beta1", "solo_2", "states_32_beta_0.1", 0.05),
        better("SOLO 4/2 is better than plain 4 bit", "solo_4_2", "states_4"),
        better("SOLO 2/2 is better than plain 2 bit", "solo_2", "states_2"),
        better("4 bits of first moment are better than 2", "solo_4_2", "solo_2"),
        better("stochastic rounding of v is better than nearest", "solo_4_2", "solo_4_2_v_nearest"),
        better("stochastic rounding of m is better than nearest", "solo_4_2_m_sr", "solo_4_2"),
        better("a lower beta1 is what 2 bits need", "solo_2", "solo_2_beta_0.9"),
        better("a lower beta1 is what 4/2 bits need", "solo_4_2", "solo_4_2_beta_0.9"),
        better("logarithmic levels are better than linear ones in 2 bits", "solo_4_2", "linear_4_2"),
    ],
)

adam4bit = Paper(
    title="Memory-efficient optimizers with 4-bit states (arXiv 2309.01507), tables 1 and 2",
    paper_column="paper, GPT-2 Medium on E2E: BLEU (unstable runs)",
    baseline="adamw_32",
    sizes=[Size("adam4bit/130m"), Size("adam4bit/7b_finetune", fine_tuning=True)],
    rows=[
        Row("adamw_32", "32-bit AdamW", "67.7"),
        Row("adamw_8", "8-bit AdamW", "67.5"),
        Row("adamw_4", "4-bit AdamW: v rank-1, linear", "67.8 (0 %)"),
        Row("adamw_4_block", "4-bit AdamW: v by blocks, linear"),
        Row("adamw_4_head_f32", "4-bit AdamW, the head's m in f32"),
        Row("factor_4", "4-bit Factor", "67.6 (0 %)"),
        Row("v_b2048_de", "v B2048/DE, with zero", "66.6 (33 %)"),
        Row("v_b128_de", "v B128/DE, with zero", "65.7 (66 %)"),
        Row("v_b128_de_sr", "v B128/DE, with zero, SR", "65.4 (33 %)"),
        Row("v_b2048_de_no_zero", "v B2048/DE-0", "67.5 (0 %)"),
        Row("v_b128_de_no_zero", "v B128/DE-0", "67.4 (0 %)"),
        Row("v_rank1_de_no_zero", "v rank-1/DE-0", "67.5 (0 %)"),
    ],
    claims=[
        within("4-bit AdamW is at most 0.03 above 32-bit", "adamw_4", "adamw_32", 0.03),
        within("4-bit Factor is at most 0.03 above 32-bit", "factor_4", "adamw_32", 0.03),
        better("a second moment without zero is better (B128)", "v_b128_de_no_zero", "v_b128_de"),
        better("a second moment without zero is better (B2048)", "v_b2048_de_no_zero", "v_b2048_de"),
        better("without zero, linear is better than DE (rank-1)", "adamw_4", "v_rank1_de_no_zero"),
        within("rank-1 is at most 0.005 above blocks", "adamw_4", "adamw_4_block", 0.005),
    ],
)

combined = Paper(
    title="Low-bit weights with low-bit states: under 2.5 bytes per quantized parameter",
    baseline="bf16_master",
    sizes=[Size("combined/30m")],
    rows=[
        Row("bf16_master", "BF16 with master, f32 states"),
        Row("bf16_master_beta_0.3", "BF16 with master, f32 states, beta1 .3"),
        Row("eco_sr", "ECO+SR, f32 states"),
        Row("eco_sr_m_8_v_log2", "ECO+SR, m 8 bit, v log 2 bit"),
        Row("eco_sr_m_8_v_factored", "ECO+SR, m 8 bit, v factored"),
        Row("eco_sr_m_8_row_v_factored", "ECO+SR, m 8 bit by row, v factored"),
        Row("eco_sr_m_4_v_rank1", "ECO+SR, m 4 bit SR, v 4 bit rank-1"),
        Row("eco_sr_m_4_v_log2", "ECO+SR, m 4 bit SR, v log 2 bit"),
        Row("eco_sr_m_4_v_log2_beta_0.3", "ECO+SR, m 4 bit SR, v log 2 bit, beta1 .3"),
        Row("eco_sr_m_4_v_factored", "ECO+SR, m 4 bit SR, v factored"),
        Row("eco_sr_m_4_row_v_factored", "ECO+SR, m 4 bit SR by row, v factored"),
        Row("eco_sr_m_4_nearest_v_factored", "ECO+SR, m 4 bit nearest, v factored"),
        Row("dqt_8", "DQT 8 bit, f32 states"),
        Row("dqt_8_m_8_v_log2", "DQT 8 bit, m 8 bit, v log 2 bit"),
        Row("dqt_8_m_4_v_rank1", "DQT 8 bit, m 4 bit SR, v 4 bit rank-1"),
        Row("dqt_8_m_4_v_log2", "DQT 8 bit, m 4 bit SR, v log 2 bit"),
        Row("dqt_8_m_4_v_log2_beta_0.3", "DQT 8 bit, m 4 bit SR, v log 2 bit, beta1 .3"),
        Row("dqt_ternary", "DQT ternary, f32 states"),
        Row("dqt_ternary_m_4_v_log2_beta_0.3", "DQT ternary, m 4 bit SR, v log 2 bit, beta1 .3"),
    ],
    claims=[
        within("ECO+SR with m in 8 bits and v factored, 2.1 bytes, is at most 0.05 above BF16 with master", "eco_sr_m_8_v_factored", "bf16_master", 0.05),
        within("ECO+SR with m in 4 bits and v factored, 1.6 bytes, is at most 0.05 above BF16 with master", "eco_sr_m_4_v_factored", "bf16_master", 0.05),
        within("an 8-bit first and a 2-bit logarithmic second moment cost ECO at most 0.01", "eco_sr_m_8_v_log2", "eco_sr", 0.01),
        within("an 8-bit first and a factored second moment cost ECO at most 0.01", "eco_sr_m_8_v_factored", "eco_sr", 0.01),
        within("a 4-bit first moment costs ECO at most 0.02 more than an 8-bit one", "eco_sr_m_4_v_log2", "eco_sr_m_8_v_log2", 0.02),
        better("a 4-bit first moment wants stochastic rounding", "eco_sr_m_4_v_factored", "eco_sr_m_4_nearest_v_factored"),
        within("m in 8 bits with a scale for each row costs at most 0.005 over one for each 128 elements", "eco_sr_m_8_row_v_factored", "eco_sr_m_8_v_factored", 0.005),
        within("m in 4 bits with a scale for each row costs at most 0.005 over one for each 128 elements", "eco_sr_m_4_row_v_factored", "eco_sr_m_4_v_factored", 0.005),
        better("with 4/2 bits of state, ECO wants a lower beta1", "eco_sr_m_4_v_log2_beta_0.3", "eco_sr_m_4_v_log2"),
        within("ECO with 4/2 bits of state and beta1 .3 is at most 0.05 above BF16 with master and the same beta1", "eco_sr_m_4_v_log2_beta_0.3", "bf16_master_beta_0.3", 0.05),
        within("an 8-bit first and a 2-bit logarithmic second moment cost DQT 8 bit at most 0.01", "dqt_8_m_8_v_log2", "dqt_8", 0.01),
    ],
)

frontier = Paper(
    title="Below AdamW's loss in two bytes: Muon with weights and momentum in few bits",
    baseline="adamw",
    sizes=[Size(f"frontier/{size}") for size in ("30m", "124m", "350m", "1.2b", "8b")],
    rows=[
        Row("adamw", "AdamW, f32 weights and moments"),
        Row("eco_m_8_v_factored", "ECO+SR, m 8 bit, v factored"),
        Row("muon", "Muon, f32 weights and momentum"),
        Row("muon_fp8_m_int8", "Muon, FP8 weights SR, m 8 bit linear"),
        Row("muon_whole_model", "the same, embedding and head bf16 SR, m 8 bit, v by token row"),
        Row("muon_small_embedding", "Muon FP8, m 8 bit, the embedding alone small"),
        Row("muon_small_head", "Muon FP8, m 8 bit, the head alone small"),
        Row("muon_fp8_m_de4", "Muon, FP8 weights SR, m 4 bit SR"),
        Row("muon_dqt_8_m_int8", "Muon, DQT 8 bit, m 8 bit linear"),
        Row("muon_ternary_m_int8", "Muon, DQT ternary, m 8 bit linear"),
    ],
    claims=[
        within("Muon with FP8 weights and 8-bit momentum is at least 0.05 below AdamW", "muon_fp8_m_int8", "adamw", -0.05),
        within("Muon in f32 is at least 0.05 below AdamW", "muon", "adamw", -0.05),
        within("FP8 weights and 8-bit momentum cost Muon at most 0.02", "muon_fp8_m_int8", "muon", 0.02),
        within("a small embedding and head cost at most 0.02", "muon_whole_model", "muon_fp8_m_int8", 0.02),
        within("the whole model in few bytes is at least 0.05 below AdamW", "muon_whole_model", "adamw", -0.05),
        within("a 4-bit momentum costs Muon at most 0.02 more than an 8-bit one", "muon_fp8_m_de4", "muon_fp8_m_int8", 0.02),
        better("Muon with DQT's 8-bit weights is better than AdamW in f32", "muon_dqt_8_m_int8", "adamw"),
        better("Muon with FP8 weights and 8-bit momentum is better than ECO", "muon_fp8_m_int8", "eco_m_8_v_factored"),
    ],
)

papers = {"eco": eco, "eco_gemma": eco_gemma, "eco_int4": eco_int4, "dqt": dqt, "solo": solo, "adam4bit": adam4bit, "combined": combined, "frontier": frontier}
