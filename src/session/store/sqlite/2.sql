-- Sessions that an operator ended and that no process has counted yet.
CREATE TABLE uncounted (many INTEGER NOT NULL) STRICT;
