# The image of workers, of `init` and of Jupyter; built with a CPU PyTorch unless TORCH says otherwise.
FROM python:3.11.16-slim-bookworm AS build
ARG TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev pkg-config default-libmysqlclient-dev \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
# First the large and stable part, so that a change of the project does not fetch it again.
RUN pip install --no-cache-dir ${TORCH}
WORKDIR /src
COPY pyproject.toml README.md ./
COPY science science
COPY schemas schemas
COPY pipeline pipeline
RUN pip install --no-cache-dir ".[sql,web,s3,parquet,notebooks]"

FROM python:3.11.16-slim-bookworm
# `inceptionloop backup` dumps the database with the client of MariaDB.
RUN apt-get update \
    && apt-get install -y --no-install-recommends graphviz libmariadb3 mariadb-client \
    && rm -rf /var/lib/apt/lists/*
# The number of whom the files of passwords belong to, who alone can read them.
ARG USER_ID=1000
RUN useradd --create-home --uid ${USER_ID} inceptionloop \
    && install --directory --owner=inceptionloop --mode=750 /data
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH INCEPTIONLOOP_HOME=/data PYTHONUNBUFFERED=1
USER inceptionloop
WORKDIR /home/inceptionloop
VOLUME /data
CMD ["inceptionloop", "work", "--forever"]
