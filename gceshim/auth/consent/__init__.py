"""The page on which a person signs in and allows a program to act for them; plain HTML, no script."""
