"""AMQP's topic patterns, for a bus without a broker. Pure.

A routing key and a pattern are words between dots; ``*`` stands for exactly one word, ``#`` for any number of them,
none included. An empty key has no words at all. Source: the topic exchange of AMQP 0-9-1, as RabbitMQ reads it.
"""


def matches(pattern: str, routing_key: str) -> bool:
    """Whether a queue bound with ``pattern`` receives what is published with ``routing_key``."""
    return _match(_words(pattern), _words(routing_key))


def _words(text: str) -> list[str]:
    return text.split(".") if text else []


def _match(wanted: list[str], words: list[str]) -> bool:
    # Only the last `#` ever has to take one word more: what an earlier one could still take, the last one can as well.
    # So the time is the product of the lengths at worst, where plain backtracking is exponential.
    at = word = 0
    hash_at = hash_word = -1
    while word < len(words):
        if at < len(wanted) and wanted[at] == "#":
            hash_at, hash_word = at, word
            at += 1
        elif at < len(wanted) and wanted[at] in ("*", words[word]):
            at += 1
            word += 1
        elif hash_at >= 0:
            hash_word += 1
            at, word = hash_at + 1, hash_word
        else:
            return False
    return all(rest == "#" for rest in wanted[at:])
