"""Control: people, rules, money and notices, and the JSON API over them. Everything true is in its database."""
