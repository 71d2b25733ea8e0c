"""Method names: what they mean, how they are spelled, and what is refused in which sentence."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdfss_bench.cards import Catalog
from cdfss_bench.errors import CompositionError, UserError
from cdfss_bench.methods import METHODS, Composition, build, parse
from cdfss_bench.methods.registry import build as building
from cdfss_bench.methods.registry import name_grammar as grammar
from cdfss_bench.methods.registry.card import MethodCard
from cdfss_bench.options import Option, Value, spelled


@pytest.fixture
def catalog(monkeypatch: pytest.MonkeyPatch) -> Catalog[MethodCard]:
    """A catalog of one's own in the place of the shared one."""
    own: Catalog[MethodCard] = Catalog(
        kind="method",
        schema=MethodCard,
        folder=Path(grammar.__file__).parents[1],
        package="cdfss_bench.methods",
        parts=("hosts", "plugins", "controls", "aliases"),
        group="cdfss_bench.methods",
    )
    monkeypatch.setattr(grammar, "METHODS", own)
    monkeypatch.setattr(building, "METHODS", own)
    return own


def names(composition: Composition) -> list[str]:
    return [part.card.name for part in composition.parts]


def refused(text: str) -> UserError:
    with pytest.raises(UserError) as caught:
        parse(text)
    return caught.value


# -- what a name means -----------------------------------------------------------------------------


def test_a_host_alone_has_no_plug_ins_and_its_default_options() -> None:
    found = parse("ssp")
    assert found.plugins == ()
    assert found.host.options == {"refine": True, "layer": "", "size": 0}
    assert found.host.given == {}
    assert (found.label, found.control, str(found)) == ("ssp", "", "ssp")


def test_options_in_brackets_belong_to_the_part_before_them() -> None:
    found = parse("ssp[refine=off]+lcm[k=5,beta=0.6,center=yes,descriptor=flatten]")
    assert found.host.options == {"refine": False, "layer": "", "size": 0}
    changed = {"k": 5, "beta": 0.6, "center": True, "descriptor": "flatten"}
    kept = {"stage": 1, "activation": "none", "patch": 16, "w": 0.6, "auto": False}
    assert found.plugins[0].options == kept | changed
    assert found.plugins[0].given.keys() == changed.keys()


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("loec", "ssp+lem+lcm"),
        ("loec@shuffled-support", "ssp+lem+lcm@shuffled-support"),
        ("loec[lcm.k=5,ssp.refine=false]", "ssp[refine=false]+lem+lcm[k=5]"),
        ("apm-m[lr=0.1,acpa.lr=0.2]+lcm", "hsnet+apm-m[lr=0.1]+acpa[lr=0.2]+lcm"),
    ],
)
def test_what_stands_for_a_composition_keeps_its_label(text: str, canonical: str) -> None:
    assert (parse(text).label, str(parse(text))) == (text, canonical)


def test_a_control_turns_the_supports_into_those_of_a_wrong_class() -> None:
    found = parse("hsnet+lcm@shuffled-support")
    assert found.control == "shuffled-support"
    assert names(found) == ["hsnet", "lcm"]
    assert found.label == str(found) == "hsnet+lcm@shuffled-support"


# -- canonical names -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("ssp[refine=true]", "ssp"),
        ("ssp[refine=on]+lcm[w=0.60,k=3]", "ssp+lcm"),
        ("ssp+lcm[w=0.5,k=5]", "ssp+lcm[k=5,w=0.5]"),
        ("ssp+lcm[k=5,w=5e-1]", "ssp+lcm[k=5,w=0.5]"),
        ("ssp+lcm[beta=0.70]", "ssp+lcm"),
        ("ssp+lcm[center=no,beta=mean]", "ssp+lcm[beta=mean]"),
        ("hsnet[widths=8-16-32]", "hsnet[widths=8-16-32]"),
        ("ssp+lcm[]", "ssp+lcm"),
        ("ssp[refine]", "ssp"),
        ("ssp+lcm[ k=5 , auto ]", "ssp+lcm[k=5,auto=true]"),
        ("loec[lcm.auto]", "ssp+lem+lcm[auto=true]"),
        ("ssp+lem+lcm[auto=yes]", "ssp+lem+lcm[auto=true]"),
        ("  ssp + lcm[ k = 5 , w = 1 ] ", "ssp+lcm[k=5,w=1]"),
        ("ssp+lem+lcm", "ssp+lem+lcm"),
        ("ssp+lcm+lem", "ssp+lem+lcm"),
        ("ssp+lcm+lem@shuffled-support", "ssp+lem+lcm@shuffled-support"),
        ("SSP+LEM+LCM", "ssp+lem+lcm"),
        ("ssp+lcm[k=3]+lem", "ssp+lem+lcm"),
        ("LOEC", "ssp+lem+lcm"),
        ("Loec", "ssp+lem+lcm"),
        ("patnet+apm-m", "patnet+apm-m"),
        ("ssp+lcm[w=1e+3]+lem", "ssp+lem+lcm[w=1000]"),
        ("ssp+lcm[auto]", "ssp+lcm[auto=true]"),
        ("hsnet+lcm[beta=mean]", "hsnet+lcm[beta=mean]"),
        ("tfi[lr=5e-5]", "patnet+tfi[lr=5e-05]"),
    ],
)
def test_equal_networks_have_equal_names_with_parts_in_the_order_of_their_places(
    text: str, canonical: str
) -> None:
    assert str(parse(text)) == canonical


@pytest.mark.parametrize(
    ("one", "other"), [("0.1234567", "0.1234568"), ("1e-9", "0"), ("0.6", "0.6000000001")]
)
def test_different_networks_have_different_names(one: str, other: str) -> None:
    assert str(parse(f"ssp+lcm[w={one}]")) != str(parse(f"ssp+lcm[w={other}]"))


def _values(option: Option) -> st.SearchStrategy[Value]:
    low, high = option.minimum, option.maximum
    legal: st.SearchStrategy[Value]
    if isinstance(option.default, bool):
        legal = st.booleans()
    elif isinstance(option.default, int):
        most = int(high) if high is not None else 10**6
        legal = st.integers(int(low) if low is not None else -(10**6), most)
    elif isinstance(option.default, float):
        legal = st.floats(low, high, allow_nan=False, allow_infinity=False)
    else:
        legal = st.sampled_from(option.choices or ("4-8-12", "16-64-128"))
    return st.one_of(legal, st.sampled_from(option.also)) if option.also else legal


@st.composite
def _part(draw: st.DrawFn, card: MethodCard) -> tuple[str, dict[str, Value]]:
    chosen = draw(st.permutations(sorted(card.options)))[: draw(st.integers(0, len(card.options)))]
    options = {name: draw(_values(card.options[name])) for name in chosen}
    typed = ",".join(f"{name}={spelled(value)}" for name, value in options.items())
    brackets = f"[{typed}]" if typed or draw(st.booleans()) else ""
    return card.name + brackets, options


@st.composite
def _compositions(draw: st.DrawFn) -> tuple[str, dict[str, dict[str, Value]]]:
    cards = [METHODS.card(name) for name in METHODS.names()]
    host = draw(st.sampled_from([c for c in cards if c.kind in ("host", "control")]))
    fitting = [c for c in cards if c.kind == "plugin" and c.place in host.offers]
    carried = draw(st.permutations(fitting))[: draw(st.integers(0, len(fitting)))]
    carried = [
        c for i, c in enumerate(carried) if not {p.name for p in carried[:i]} & {*c.excludes}
    ]
    parts = {card.name: draw(_part(card)) for card in (host, *carried)}
    plus = draw(st.sampled_from(["+", " + "]))
    control = draw(st.sampled_from(["", "@shuffled-support"]))
    typed = plus.join(text for text, _ in parts.values()) + control
    return typed, {name: options for name, (_, options) in parts.items()}


@given(_compositions())
def test_the_canonical_name_means_the_same_and_is_its_own_canonical_name(
    drawn: tuple[str, dict[str, dict[str, Value]]],
) -> None:
    text, given_options = drawn
    found = parse(text)
    assert {*names(found)} == {*given_options}
    for part in found.parts:
        defaults = {k: o.default for k, o in part.card.options.items()}
        assert part.options == defaults | given_options[part.card.name]
    again = parse(str(found))
    assert str(again) == str(found)
    assert again.control == found.control
    assert [p.options for p in again.parts] == [p.options for p in found.parts]
    assert names(again) == names(found)


@given(st.text(alphabet="sphnetlcmo+[]=,@.- k5", max_size=14))
def test_whatever_is_typed_is_understood_or_refused_in_a_sentence(text: str) -> None:
    try:
        found = parse(text)
    except UserError:
        return
    assert str(parse(str(found))) == str(found)


# -- other defaults --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("hsnet+lcm", "hsnet[widths=8-16-32]+lcm[patch=8,k=2]"),
        ("hsnet[widths=16-64-128]+lcm[patch=16,k=3]", "hsnet+lcm"),
        ("ssp", "ssp"),
    ],
)
def test_other_defaults_apply_to_what_was_not_typed(typed: str, meant: str) -> None:
    mini = {"hsnet": {"widths": "8-16-32"}, "lcm": {"k": 2, "patch": 8}}
    assert str(parse(typed).with_defaults(mini)) == meant


def test_other_defaults_keep_label_control_and_what_was_typed() -> None:
    found = parse("loec[lcm.k=5]@shuffled-support").with_defaults({"lcm": {"k": 2, "w": 1.0}})
    assert str(found) == "ssp+lem+lcm[k=5,w=1]@shuffled-support"
    assert found.label == "loec[lcm.k=5]@shuffled-support"
    assert found.plugins[1].given == {"k": "5"}


def test_every_cards_mini_options_are_legal() -> None:
    hosts = [n for n in METHODS.names() if METHODS.card(n).kind in ("host", "control")]
    for name in hosts:
        options = METHODS.card(name).mini.options
        found = parse(name).with_defaults({name: options})
        assert {k: found.host.options[k] for k in options} == options


def test_options_of_the_host_may_be_given_beside_the_name() -> None:
    found = parse("ssp+lcm").with_host_options({"refine": False})
    assert str(found) == "ssp[refine=false]+lcm"
    assert found.host.given == {"refine": False}
    with pytest.raises(CompositionError, match="unknown option of ssp: 'refin'"):
        parse("ssp").with_host_options({"refin": False})


# -- what parts add up to --------------------------------------------------------------------------


def test_a_composition_has_a_head_if_a_part_has_one() -> None:
    assert parse("hsnet+lcm").has_head
    assert not parse("loec").has_head


@pytest.mark.parametrize(
    ("adaptation", "texts"),
    [
        ("none", ["ssp+lcm", "ssp+lcm[auto=no]", "hsnet+apm-m[steps=0]", "apm-init", "ssp+pac"]),
        ("none", ["abcdfss[steps=0]", "persam", "insid3", "frost"]),
        ("episode", ["ssp+lcm[auto]", "hsnet+apm-s[steps=0]+lcm[auto]", "hsnet+apm-m"]),
        ("episode", ["hsnet+apm-m[steps=0]+acpa", "ssp+pac[auto]", "ssp+hls", "persam[finetune]"]),
        ("transductive", ["patnet+tfi+lcm[auto]", "patnet+tfi+apm-m", "abcdfss"]),
    ],
)
def test_a_method_adapts_if_a_part_takes_steps_or_chooses(
    adaptation: str, texts: list[str]
) -> None:
    assert {text: parse(text).adaptation for text in texts} == dict.fromkeys(texts, adaptation)


def test_adaptation_is_by_episode_if_a_part_adapts(
    catalog: Catalog[MethodCard], tmp_path: Path
) -> None:
    (tmp_path / "tuner.yaml").write_text(
        "title: T\nkind: plugin\nplace: score\nsummary: s\nclass: t:T\nadaptation: episode\n"
    )
    catalog.add_folder(tmp_path)
    assert parse("ssp+tuner").adaptation == "episode"
    assert parse("ssp").adaptation == "none"


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "ssp+", "+lcm", "ssp++lcm", "ssp[", "ssp]", "[k=1]", "a b"])
def test_what_is_no_name_is_refused_with_the_syntax(text: str) -> None:
    error = refused(text)
    assert isinstance(error, CompositionError)
    assert re.fullmatch(
        rf"'{re.escape(text)}' is not a method name: '.*' is not NAME or NAME\[key=value,...\]",
        error.problem,
    )
    assert error.hint == "compose as HOST+PLUGIN[key=value]+PLUGIN; quote it for the shell"


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("ssp+lcm[kk=5]", "unknown option of lcm: 'kk'", "did you mean k?"),
        ("loec[lcm.kk=5]", "unknown option of lcm: 'kk'", "did you mean k?"),
        ("ssp[refined=no]", "unknown option of ssp: 'refined'", "did you mean refine?"),
        ("ssp[xyz=no]", "unknown option of ssp: 'xyz'", "known are: layer, refine, size"),
        ("prototype[k=5]", "unknown option of prototype: 'k'", "known are: layer, size"),
        ("ssp@shuffled", "unknown control 'shuffled'", "did you mean shuffled-support?"),
        ("ssp@", "unknown control ''", "known are: shuffled-support"),
        ("ssp+lcm[k=many]", "option 'k' of lcm takes a whole number, not 'many'", None),
        ("ssp+lcm[k=2.5]", "option 'k' of lcm takes a whole number, not '2.5'", None),
        ("ssp+lcm[k=0]", "option 'k' of lcm must be at least 1, not 0", None),
        ("ssp+lem[prob=1.5]", "option 'prob' of lem must be at most 1, not 1.5", None),
        ("ssp+lcm[w=x]", "option 'w' of lcm takes a number, not 'x'", None),
        ("ssp+lcm[w=inf]", "option 'w' of lcm takes a number, not 'inf'", None),
        (
            "ssp+lcm[beta=median]",
            "option 'beta' of lcm takes a number or 'mean', not 'median'",
            None,
        ),
        ("ssp[refine=1]", "option 'refine' of ssp takes true or false, not '1'", None),
        ("ssp+lem[sigma=x]", "option 'sigma' of lem takes a number or 'auto', not 'x'", None),
        (
            "ssp+lem[conv=dephtwise]",
            "unknown value of option 'conv' of lem 'dephtwise'",
            "did you mean depthwise?",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(
    text: str, problem: str, hint: str | None
) -> None:
    error = refused(text)
    assert (error.problem, error.hint) == (problem, hint)


@pytest.mark.parametrize(
    ("text", "reason", "hint"),
    [
        ("ssp+lcm[k=5,k=6]", " sets 'k' twice", None),
        (
            "ssp+lcm[k]",
            ": 'k' is not key=value",
            "only a switch stands alone; for example: lcm[k=3]",
        ),
        (
            "loec[lcm.beta]",
            ": 'beta' is not key=value",
            "only a switch stands alone; for example: lcm[beta=0.7]",
        ),
        ("ssp+lcm[auto,auto=no]", " sets 'auto' twice", None),
        ("ssp+lcm[=5]", ": '=5' is not key=value", None),
        ("ssp+lcm[k=]", ": 'k=' is not key=value", None),
        ("lcm[k=5]", ": lcm is a plug-in and needs a host before it", "for example: ssp+lcm"),
        ("ssp+lcm+lcm", " carries lcm twice", None),
        ("loec+lcm", " carries lcm twice", None),
        ("ssp+apm-s+apm-m", " is impossible: apm-m takes the place of apm-s", None),
        (
            "apm-m[acp.lr=1]",
            ": apm-m is hsnet+apm-m+acpa; say whose option 'acp.lr' is",
            "for example: apm-m[acpa.lr=1]",
        ),
        (
            "patnet+lem",
            (
                " is impossible: lem changes what the backbone's later stages learn from, "
                "and patnet is trained with a frozen backbone"
            ),
            None,
        ),
        (
            "ssp+finetune",
            " is impossible: finetune acts on the head, ssp offers stage, feature, score, maps",
            None,
        ),
        (
            "prototype+lem",
            " is impossible: lem acts on the stage, prototype offers feature, score, maps",
            None,
        ),
        (
            "all-foreground+lcm",
            " is impossible: lcm acts on the score, all-foreground offers no place",
            None,
        ),
        ("ssp+hsnet", ": hsnet is a host, only plug-ins follow a '+'", None),
        ("ssp+loec", ": ssp is a host, only plug-ins follow a '+'", None),
        ("ssp+all-foreground", ": all-foreground is a control, only plug-ins follow a '+'", None),
        (
            "loec[k=5]",
            ": loec is ssp+lem+lcm; say whose option 'k' is",
            "for example: loec[lcm.k=5]",
        ),
        (
            "loec[hsnet.k=5]",
            ": loec is ssp+lem+lcm; say whose option 'hsnet.k' is",
            "for example: loec[lcm.k=5]",
        ),
    ],
)
def test_an_impossible_name_is_refused_with_the_name_and_the_reason(
    text: str, reason: str, hint: str | None
) -> None:
    error = refused(text)
    assert (error.problem, error.hint) == (f"'{text}'{reason}", hint)


@pytest.mark.parametrize(
    ("text", "typed", "meant"),
    [("sps", "sps", "ssp"), ("HSNet2", "HSNet2", "hsnet"), ("ssp+lmc", "lmc", "lcm")],
)
def test_an_unknown_name_is_refused_with_the_nearest(text: str, typed: str, meant: str) -> None:
    error = refused(text)
    assert error.problem == f"unknown method '{typed}'"
    assert re.fullmatch(rf"did you mean (\S+ or )*{meant}( or \S+)*\?", error.hint or "")


def test_a_published_row_is_refused_with_its_reason(
    catalog: Catalog[MethodCard], tmp_path: Path
) -> None:
    (tmp_path / "secret.yaml").write_text(
        "title: Secret\nkind: published\nsummary: s\nreason: its code was never released.\n"
    )
    catalog.add_folder(tmp_path)
    sentence = "'secret' stands in the tables as published only: its code was never released."
    for text in ("secret", "ssp+secret"):
        error = refused(text)
        assert isinstance(error, CompositionError)
        assert error.problem == sentence


def test_what_one_test_adds_to_a_catalog_of_its_own_is_not_in_the_shared_one() -> None:
    assert "secret" not in METHODS.names()
    assert "tuner" not in METHODS.names()
    assert grammar.METHODS is METHODS


def test_a_plug_in_from_a_folder_composes_like_a_built_in_one(
    catalog: Catalog[MethodCard], tmp_path: Path
) -> None:
    (tmp_path / "twice.yaml").write_text(
        "title: Twice\nkind: plugin\nplace: score\nsummary: s\nclass: twice_code:Twice\n"
        "options:\n  by: {default: 2.0, help: The factor.}\n"
    )
    (tmp_path / "twice_code.py").write_text(
        "from cdfss_bench.methods.core.plugin_api import ScorePlugin\n"
        "class Twice(ScorePlugin):\n"
        "    stage_name = 'stem'\n"
        "    def __init__(self, *, by):\n"
        "        super().__init__()\n"
        "        self.by = by\n"
        "    def calibrate(self, logits, low, size):\n"
        "        return logits * self.by\n"
    )
    catalog.add_folder(tmp_path)
    assert str(parse("ssp+lcm+twice[by=3]")) == "ssp+lcm+twice[by=3]"
    net = build("prototype+twice[by=3]", backbone="resnet-mini")
    assert [getattr(plugin, "by", None) for plugin in net.score_plugins] == [3.0]


def test_a_card_without_what_its_kind_needs_is_refused(
    catalog: Catalog[MethodCard], tmp_path: Path
) -> None:
    (tmp_path / "half.yaml").write_text("title: Half\nkind: plugin\nsummary: s\nclass: a:B\n")
    catalog.add_folder(tmp_path)
    assert "a card of kind plugin needs 'class' and 'place'" in refused("ssp+half").problem


# -- building --------------------------------------------------------------------------------------


def test_building_a_name_and_a_composition_is_the_same() -> None:
    by_name = build("ssp[refine=false]+lcm", backbone="resnet-mini")
    by_composition = build(parse("ssp+lcm"), backbone="resnet-mini", refine=False)
    for net in (by_name, by_composition):
        assert getattr(net, "refine", None) is False
        assert len(net.score_plugins) == 1
        assert not net.training


def test_the_published_backbone_is_the_default() -> None:
    assert "layer0.0.0.weight" in build("ssp").state_dict()


PYRAMID = "it reads stages at strides 8, 16 and 32, and .* has one stride"
TOKENS = "it works on a transformer's tokens, and .* is a convolutional"
MAPS = "its parts are made for convolutional maps, and dinov3-s16 is a transformer$"
OWN = "its parts are made for the tokens of vit-b16, deit-b16, vit-mini"
LAYERS = "choose one of layer1, layer2, layer3, or a tap of one"
WIDTHS = ("16", "16-64", "8-16-32-64", "a-b-c", "16-64-126", "0-4-4")


@pytest.mark.parametrize(
    ("name", "backbone", "problem", "hint"),
    [
        ("hsnet", "resnet5", "unknown backbone of hsnet: 'resnet5'", "resnet50"),
        ("hsnet", "resnet50-caffe", "unknown backbone of hsnet: 'resnet50-caffe'", ""),
        ("hsnet", "vit-b16", PYRAMID, ""),
        ("hsnet", "dinov3-s16", f"^hsnet does not work with dinov3-s16: {PYRAMID}$", ""),
        ("patnet", "dinov3-s16", f"^patnet does not work with dinov3-s16: {PYRAMID}$", ""),
        ("dra", "dinov3-s16", f"^dra does not work with dinov3-s16: {MAPS}", ""),
        ("ifa", "dinov3-s16", f"^ifa does not work with dinov3-s16: {MAPS}", ""),
        ("fptrans", "dinov3-s16", f"^fptrans does not work with dinov3-s16: {OWN}$", ""),
        ("fptrans", "vgg16", TOKENS, ""),
        ("ssp-vit", "resnet50", TOKENS, ""),
        ("rsrm", "resnet50", TOKENS, ""),
        ("hera", "resnet-mini", "hera does not work with resnet-mini", ""),
        ("ssp+pgr", "resnet50", "pgr does not work with resnet50: it acts on a tra", ""),
        ("prototype+pgr", "resnet50", "pgr does not work with resnet50: it acts on a tra", ""),
        ("ssp-vit+pgr", "vit-mini", "ssp-vit offers stage, feature, score", ""),
        ("ssp+lem[kernel=4]", "resnet-mini", "option 'kernel' of lem must be odd, not 4", ""),
        ("dra[kernel=4]", "resnet-mini", "must be odd, not 4", ""),
        ("ssp+lem[stage=4]", "resnet-mini", "lem on stage 4 would change nothing", ""),
        ("ssp-vit+lem[stage=7]", "vit-mini", "no stage follows it", ""),
        ("fptrans+lem[stage=7]", "vit-mini", "no stage follows it", ""),
        ("ssp+lem[stage=5]", "resnet-mini", "has stages 1 to 4 here, not 5", ""),
        ("ssp+lcm[stage=5]", "resnet-mini", "has stages 1 to 4 here, not 5", ""),
        ("fptrans+lcm[stage=2]", "vit-mini", "LCM on fptrans reads stage 1", ""),
        ("ssp[layer=6]", "vit-mini", "no layer '6' to read here", "^choose a block from 0 to 5"),
        ("ssp[layer=patch_embed]", "vit-mini", "no layer 'patch_embed' to read", "^choose a block"),
        ("ssp[layer=layer9]", "resnet-mini", "no layer 'layer9' to read here", f"^{LAYERS}"),
        ("ssp[layer=layer2.7]", "resnet-mini", "no layer 'layer2.7' to read here", f"^{LAYERS}"),
        ("prototype[size=100]", "vit-mini", "100 pixels are no whole number of patches of 16", ""),
        ("insid3[svd=96]", "vit-mini", "svd=96 would remove all 96 channels", "fewer than 96"),
        ("frost[svd=96]", "vit-mini", "svd=96 would remove all 96 channels", "fewer than 96"),
        ("apseg[input_size=100]", "sam-mini", "does not divide into patches of 8", ""),
        ("persam[finetune=true,combine=vote]", "sam-mini", "cannot vote", ""),
        (
            "persam[input_size=100]", "sam-mini", "input_size of 100 pixels",
            "^use a multiple of 8, or 0 for 128$",
        ),
        *((f"hsnet[widths={w}]", "resnet-mini",
           f"takes three multiples of 4 such as 16-64-128, not '{w}'", "") for w in WIDTHS),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_refused_with_the_reason(
    name: str, backbone: str, problem: str, hint: str
) -> None:
    with pytest.raises(CompositionError) as caught:
        build(name, backbone=backbone)
    assert re.search(problem, caught.value.problem)
    assert re.search(hint, caught.value.hint or "")


@pytest.mark.parametrize(
    ("name", "backbone"),
    [
        ("ssp+lem[stage=3]", "resnet-mini"),
        ("ssp-vit+lem[stage=6]", "vit-mini"),
        ("fptrans+lem[stage=6]", "vit-mini"),
        ("ssp-vit+lcm[stage=2]", "vit-mini"),
    ],
)
def test_what_is_next_to_the_refused_is_built(name: str, backbone: str) -> None:
    build(name, backbone=backbone)


@pytest.mark.parametrize("name", [n for n in METHODS.names() if METHODS.card(n).kind == "host"])
def test_the_card_and_the_class_of_a_host_offer_the_same_places(name: str) -> None:
    card = METHODS.card(name)
    assert {*METHODS.code(name, card.code).offers} == {*card.offers}
