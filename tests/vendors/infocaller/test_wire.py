"""JSON and XML become one tree."""

import json
from typing import Any

import pytest
import xmltodict
from hypothesis import given, strategies as st

from hub.errors import Unusable
from hub.vendors.infocaller.wire import Tree, field, read_tree
from tests.vendors.infocaller.encodings import ROOTS, as_xml

ONE_EVENT = {"Status": {"Events": {"Event": [{"EventType": "1"}]}}}


def tree_of(text: str) -> Tree:
    """What a body says."""
    return read_tree(text).tree


def refused(text: str) -> str:
    with pytest.raises(Unusable) as refusal:
        tree_of(text)
    assert refusal.value.reason == "undecodable"
    return refusal.value.detail


def in_json(inner: str) -> dict[str, Any]:
    return tree_of('{"ApiCall": ' + inner + "}")


# --- JSON ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inner", "tree"),
    [
        ("{}", {}),
        ('{"A": " b "}', {"A": "b"}),
        ('{" A ": "1", "A": "2"}', {"A": "2"}),
        (
            '{"A": 1, "B": 0.000000, "C": -0, "D": 1E400, "E": 99999999999999999999999}',
            {"A": "1", "B": "0.000000", "C": "-0", "D": "1E400", "E": "99999999999999999999999"},
        ),
        (
            '{"A": true, "B": false, "C": null, "D": "", "E": {}, "F": [], "G": [null, "", {}], "H": " "}',
            {"A": "true", "B": "false"},
        ),
        ('{"A": ["x"], "B": ["x", "", "y"], "C": [[["z"]]]}', {"A": "x", "B": ["x", "y"], "C": "z"}),
        ('{"A": NaN, "B": -Infinity}', {"A": "NaN", "B": "-Infinity"}),
        (
            r'{"A": "x\u0000y", "B": "\ud800", "C\udfff": "\ud83d\ude00", "D": "\u0000"}',
            {"A": "xy", "B": "\ufffd", "C\ufffd": "😀"},
        ),
        (
            '{"A": "a &amp; b &lt;&gt;&quot;&apos;", "B": "a & b", "C": "&amp;lt;", "D": "&ntilde;&#39;"}',
            {"A": "a & b <>\"'", "B": "a & b", "C": "&lt;", "D": "&ntilde;&#39;"},
        ),
        (r'{"A": "\u0026amp;"}', {"A": "&"}),
        ('{"CustVars": {"CustVar": {"VarName": "A"}}}', {"CustVars": {"CustVar": [{"VarName": "A"}]}}),
        ('{"Status": {"Events": {"Event": {"EventType": "1"}}}}', ONE_EVENT),
        ('{"Status": [{"Events": [{"Event": [{"EventType": "1"}]}]}]}', ONE_EVENT),
        (
            '{"Infocaller": {"CostRX": 0.12, "CostTX": "0,5"}}',
            {"Infocaller": {"CostRX": "0.120000", "CostTX": "0.500000"}},
        ),
        ('{"Infocaller": {"CostRX": "free"}}', {"Infocaller": {"CostRX": "free"}}),
    ],
)
def test_json_becomes_a_tree_of_stripped_texts(inner: str, tree: dict[str, Any]) -> None:
    assert in_json(inner) == tree


def test_an_integer_of_five_thousand_digits_is_a_text() -> None:
    assert in_json('{"A": ' + "9" * 5000 + "}") == {"A": "9" * 5000}


@pytest.mark.parametrize(
    "inner",
    ['{"A": ["1", "2",],}', '{"A": ["1", "2" , \r\n\t] , \n }', '{"A": ["1", "2",], "B": "",}'],
)
def test_trailing_commas_are_accepted(inner: str) -> None:
    assert in_json(inner) == {"A": ["1", "2"]}


def test_a_comma_in_a_text_is_no_trailing_comma() -> None:
    assert in_json(r'{"A": ",]", "B": "\",}", "C": "\\", "D": ",}",}') == {"A": ",]", "B": '",}', "C": "\\", "D": ",}"}


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "null", "1", '"ApiCall"', "[]", '[{"ApiCall": {}}]', "{}", '{"apicall": {}}', '{"ApiCall": null}',
        '{"ApiCall": ""}', '{"ApiCall": []}', '{"ApiCall": {}', '{"ApiCall": {}}}', '{"ApiCall": {"A": 1,,}}',
        '{"ApiCall": {"A" "B"}}', "{'ApiCall': {}}", '{"ApiCall": {"A": "\n"}}', '{"ApiCall": {"A": 01}}',
        '{"ApiCall": {"A": "\\x"}}', '{"ApiCall": {}} {}', '{"ApiCall": {"A": "1"', '{"ApiCall": {"A": "',
    ],
)  # fmt: skip
def test_malformed_json_and_what_is_no_apicall_is_undecodable(text: str) -> None:
    refused(text)


def test_a_field_beside_the_apicall_is_kept_but_is_no_section() -> None:
    text = '{"ApiCall": {"A": "1"}, "Version": 2, "A": "3", "UserID": {"LineNumber": "1"}}'
    assert tree_of(text) == {"A": "1", "Version": "2"}


@pytest.mark.parametrize("name", ["UserID", "Infocaller", "Status", "CustVars"])
@pytest.mark.parametrize("value", ["text", ["a", "b"], [{"A": "1"}, {"B": "2"}], 7, True])
def test_a_section_that_is_no_object_says_nothing_and_is_kept(name: str, value: Any) -> None:
    said = read_tree(json.dumps({"ApiCall": {name: value, "A": "1"}}))
    assert said.tree == {"A": "1"}
    assert name in said.sent


def test_events_that_are_no_object_say_nothing_and_are_kept() -> None:
    said = read_tree('{"ApiCall": {"Status": {"Events": "none"}}}')
    assert said.tree == {"Status": {}}
    assert said.sent == {"Status": {"Events": "none"}}


@pytest.mark.parametrize(
    "text",
    [
        '{"ApiCall": {"Infocaller": {"idcall": "", "CostRX": 0.12, "OutboundNumber": null}}}',
        "<ApiCall><Infocaller><idcall/><CostRX>0,12</CostRX><OutboundNumber> </OutboundNumber></Infocaller></ApiCall>",
    ],
)
def test_what_was_sent_is_kept_with_its_empty_fields_and_its_spelling(text: str) -> None:
    sent = read_tree(text).sent["Infocaller"]
    assert (sent["idcall"], sent["OutboundNumber"]) == ("", "")
    assert sent["CostRX"] in ("0.12", "0,12")


# --- XML -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("root", ROOTS)
def test_the_roots_encoding_is_forgiven_in_any_spelling(root: str) -> None:
    assert tree_of(f"<ApiCall{root}><A>ñ”</A></ApiCall>") == {"A": "ñ”"}
    assert tree_of(f"<ApiCall{root}\n></ApiCall>") == {}


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("<ApiCall/>", {}),
        ("<ApiCall> <A/> <B> </B> <C>\n x \n</C></ApiCall>", {"C": "x"}),
        (
            "<?xml version='1.0' encoding='UTF-16'?><!-- <!DOCTYPE a> --><ApiCall><A>ñ</A></ApiCall> <!-- x -->",
            {"A": "ñ"},
        ),
        ("<ApiCall><A>&amp;&lt;&gt;&quot;&apos;&#241;</A><B>&amp;amp;</B></ApiCall>", {"A": "&<>\"'ñ", "B": "&amp;"}),
        ("<ApiCall><A><![CDATA[<!DOCTYPE x> &amp; ]]></A></ApiCall>", {"A": "<!DOCTYPE x> &amp;"}),
        ("<ApiCall><A>x<!-- y -->z<?pi?></A></ApiCall>", {"A": "xz"}),
        ("<ApiCall><A>1</A><A/><A>2</A><A>3</A></ApiCall>", {"A": ["1", "2", "3"]}),
        ("<ApiCall><A b='1' c=''>x</A><D e='2'/></ApiCall>", {"A": {"@b": "1", "#text": "x"}, "D": {"@e": "2"}}),
        ("<ApiCall f='1'>x<A>y</A>z</ApiCall>", {"@f": "1", "A": "y", "#text": "xz"}),
        (
            "<x:ApiCall xmlns:x='u' x:a='1'><x:A xmlns='v'>1</x:A><B xmlns='w'><C>2</C></B></x:ApiCall>",
            {"@a": "1", "A": "1", "B": {"C": "2"}},
        ),
        ("<ApiCall a='>' encoding='x'><A>1</A></ApiCall>", {"@a": ">", "@encoding": "x", "A": "1"}),
        ("<ApiCall><A encoding='x'>1</A></ApiCall>", {"A": {"@encoding": "x", "#text": "1"}}),
        (
            "<ApiCall><CustVars/><Status><Events><Event><EventType>1</EventType></Event></Events></Status></ApiCall>",
            ONE_EVENT,
        ),
    ],
)
def test_xml_becomes_a_tree_by_xmltodicts_rules(text: str, tree: dict[str, Any]) -> None:
    assert tree_of(text) == tree


@pytest.mark.parametrize(
    "text",
    [
        "<", "<>", "<ApiCall", "<ApiCall>", "<ApiCall></apicall>", "<Other/>", "<?xml", "<!-- ", "<!---->",
        "<ApiCall><CallSeconds>1</Callseconds></ApiCall>", "<ApiCall><A>&ntilde;</A></ApiCall>", "<ApiCall/><ApiCall/>",
        "<ApiCall/>x", "<ApiCall><A>a & b</A></ApiCall>",
        "<ApiCall>\x00</ApiCall>", "<ApiCall>\x01</ApiCall>", "<ApiCall>\ufffe</ApiCall>",
        "<ApiCall><A>&#0;</A></ApiCall>", "<ApiCall><A>&#xD800;</A></ApiCall>", "<x:ApiCall/", "<ApiCall other=”x”/>",
    ],
)  # fmt: skip
def test_malformed_xml_and_what_is_no_apicall_is_undecodable(text: str) -> None:
    refused(text)


@pytest.mark.parametrize(
    "prolog",
    [
        "<!DOCTYPE ApiCall>",
        "<!doctype ApiCall>",
        '<?xml version="1.0"?>\n<!-- a -->\n<!DOCTYPE ApiCall [<!ENTITY a "b">]>',
        '<!DOCTYPE ApiCall SYSTEM "http://127.0.0.1:9/x.dtd">',
    ],
)
def test_a_doctype_is_refused_before_anything_is_parsed(prolog: str) -> None:
    assert refused(f"{prolog}<ApiCall><A>1</A></ApiCall>") == "the XML has a DOCTYPE"
    refused(f"<ApiCall>{prolog}</ApiCall>")


_names = st.sampled_from(["A", "B", "Ñandú", "CustVar", "x.y", "a-b"])
_texts = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"]), max_size=8)
_trees = st.recursive(
    _texts,
    lambda inner: st.dictionaries(_names, st.one_of(inner, st.lists(inner, min_size=1, max_size=3)), max_size=4),
    max_leaves=12,
)


def normal(value: Any) -> Any:
    """What xmltodict gives, by our rules on what is empty and on lists of one."""
    if isinstance(value, dict):
        return {name: item for name, member in value.items() if (item := normal(member))}
    if isinstance(value, list):
        items = [item for member in value if (item := normal(member))]
        return items[0] if len(items) == 1 else items
    return value


@given(st.dictionaries(_names, _trees, max_size=4), st.sampled_from(["", "\n  "]))
def test_the_tree_is_xmltodicts(call: dict[str, Any], indent: str) -> None:
    text = as_xml(call, indent=indent)
    assert tree_of(text) == (normal(xmltodict.parse(text)["ApiCall"]) or {})


# --- both ------------------------------------------------------------------------------------------------------------


def nested_json(levels: int) -> str:
    return '{"ApiCall":' + '{"A":' * (levels - 2) + '{"A":"x"}' + "}" * (levels - 1)


def nested_xml(levels: int) -> str:
    return "<ApiCall>" + "<A>" * (levels - 1) + "x" + "</A>" * (levels - 1) + "</ApiCall>"


@pytest.mark.parametrize("nested", [nested_json, nested_xml])
def test_sixty_four_levels_are_read_and_no_more(nested: Any) -> None:
    assert tree_of(nested(63))
    assert tree_of(nested(64))
    for levels in (65, 300, 100_000):
        refused(nested(levels))


def test_deep_lists_and_deep_trailing_commas_are_refused() -> None:
    refused('{"ApiCall": {"A": ' + "[" * 100_000 + "]" * 100_000 + "}}")
    refused('{"ApiCall": {"A": ' + "[" * 100_000 + ",]" * 100_000 + "}}")


def test_a_field_that_holds_something_else_is_no_text() -> None:
    section = {"A": "1", "B": ["1"], "C": {"D": "1"}, "E": {"@nil": "true", "#text": "2"}}
    assert [field(section, name) for name in "ABCEF"] == ["1", "", "", "2", ""]
