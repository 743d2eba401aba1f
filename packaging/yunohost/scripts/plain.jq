# Makes a text of anybody one that is nothing but text where YunoHost takes it for HTML, as its
# web administration does, or prints it as it is.
def plain: gsub("[\\p{Cc}\\p{Cf}]"; " ") | gsub("<"; "&lt;");
