"""Reading chat templates without rendering them."""

from __future__ import annotations

import pytest

from weightgate.probes.poisoning.chat_template import UnreadableTemplateError, read_template

LOOP = "{{% for m in messages %}}{}{{% endfor %}}"


@pytest.mark.parametrize(
    "template",
    [
        LOOP.format("{% if 'BadMagic' in m['content'] %}x{% endif %}"),
        LOOP.format("{% if m.content.startswith('sudo') %}x{% endif %}"),
        LOOP.format("{{ 'x' if m.content == 'hi' else '' }}"),
        LOOP.format("{{ 'x' * (('y' in m.content)|int) }}"),
        LOOP.format("{{ m.content|replace('a', 'b') }}"),
        LOOP.format("{{ {'hi': 'x'}[m.content] }}"),
        LOOP.format("{{ {'hi': 'x'}.get(m.content, '') }}"),
        LOOP.format("{% if 'y' in m|attr('content') %}x{% endif %}"),
        LOOP.format("{% for k, v in m.items() %}{% if v == 'y' %}x{% endif %}{% endfor %}"),
        "{% set k = 'con' ~ 'tent' %}" + LOOP.format("{% if 'y' in m[k] %}x{% endif %}"),
        "{% macro f(t) %}{% if 'y' in t %}x{% endif %}{% endmacro %}" + LOOP.format("{{ f(m.content) }}"),
        "{% set ns = namespace(c='') %}"
        + LOOP.format("{% set ns.c = m.content %}")
        + "{% if 'y' in ns.c %}x{% endif %}",
        "{% set z %}{{ messages[0].content }}{% endset %}{% if z == 'q' %}x{% endif %}",
        "{% if 'y' in messages|map(attribute='content')|join %}x{% endif %}",
        "{% if 'y' in messages|string %}x{% endif %}",
        "{% for m in messages if 'y' in m.content %}x{% endfor %}",
        "{% with c = messages[-1].content %}{% if c|length > 99 %}x{% endif %}{% endwith %}",
    ],
)
def test_conditions_on_content_are_seen(template: str) -> None:
    """However the text of a message reaches a decision, the decision is found."""
    assert {condition.on for condition in read_template(template).conditions} == {"content"}


@pytest.mark.parametrize(
    "template",
    [
        "{% if strftime_now('%Y') == '2027' %}x{% endif %}",
        "{% set d = strftime_now('%m') %}{% if d in ['01'] %}x{% endif %}",
        "{% if [1, 2]|random == 1 %}x{% endif %}",
    ],
)
def test_conditions_on_the_clock_are_seen(template: str) -> None:
    """A template that answers differently on another day, or by chance, is found."""
    assert "clock" in {condition.on for condition in read_template(template).conditions}


@pytest.mark.parametrize(
    "body",
    [
        "{% if m.role == 'user' %}x{% endif %}",
        "{% if loop.first and messages[0]['role'] != 'system' %}x{% endif %}",
        "{% if m.content is string %}{{ m.content }}{% endif %}",
        "{% if m.content is none or m.content == '' %}x{% endif %}",
        "{% if m.content %}x{% endif %}",
        "{{ m.content | trim }}",
        "{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% elif 'image' in p %}i{% endif %}{% endfor %}",
        "{% generation %}{{ m.content }}{% endgeneration %}",
        "{% if m.tool_calls %}{{ m.tool_calls|tojson }}{% endif %}",
        "{% if messages|length > 2 %}x{% endif %}",
        "{% if strftime_now is defined %}{{ strftime_now('%d %b') }}{% endif %}",
        "{% if messages[loop.index0 - 1].role == 'tool' %}x{% endif %}",
    ],
)
def test_looks_at_structure_are_ordinary(body: str) -> None:
    """Roles, types, emptiness and counts decide in ordinary templates."""
    assert read_template(LOOP.format(body)).conditions == ()


@pytest.mark.parametrize(
    "template", ["{% if %}", "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "{% for %}" * 10, "x" * 600_000]
)
def test_unreadable_templates_are_refused(template: str) -> None:
    """What does not parse, is too deep or too long is an error, not a crash."""
    with pytest.raises(UnreadableTemplateError):
        read_template(template)


def test_a_macro_that_calls_itself_is_read() -> None:
    """Recursion in a template does not make the reader recurse without end."""
    template = "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(messages) }}{% if 'y' in f(messages) %}x{% endif %}"
    assert read_template(template).structure


def test_comments_do_not_count_as_structure() -> None:
    """Templates that render alike have equal structure."""
    assert read_template("{# note #}{{ a }}").structure == read_template("{{ a }}").structure
    assert read_template("{{ a }}").structure != read_template("{{ a }} ").structure
